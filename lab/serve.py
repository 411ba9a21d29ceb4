"""The provider plugin `pulumi-resource-lab`; the engine starts it and reads its port from standard output."""

from __future__ import annotations

import sys

from pulumi.provider.experimental import server

from engine.orphan import end_with_engine
from lab.provider import Provider

VERSION = "0.1.0"


def main() -> None:
    """Serve until the engine has had enough."""
    end_with_engine()
    server.main(sys.argv[1:], VERSION, Provider())
