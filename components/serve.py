"""The component provider `pulumi-resource-vcubev`: started by the engine or by a language host."""

from __future__ import annotations

import sys

from pulumi.provider import main as serve

from components import lean
from components.foreign import Provider
from engine.orphan import end_with_engine


def main() -> None:
    """Serve until the engine has had enough."""
    end_with_engine()
    lean.begin()
    serve(Provider(), sys.argv[1:])
