"""The command `vcubev` of an installed checkout: scripts/vcubev, which sets up what it needs by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[1] / "vcubev"


def main() -> None:
    """Become scripts/vcubev."""
    if not COMMAND.exists():
        sys.exit(f"vcubev: {COMMAND} is not there. Install a checkout: uv tool install --editable PATH.")
    os.execv(COMMAND, ["vcubev", *sys.argv[1:]])
