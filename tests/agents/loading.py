"""The agents are files for machines, not modules of this program; here they are loaded as such."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

TEMPLATES = Path(__file__).parents[2] / "components" / "templates"
AGENTS = TEMPLATES / "agents"


def load(name: str, kind: str = "agents") -> ModuleType:
    """Return an agent's file, or one that comes by stdin (kind "machine"), as a module, the same one each time."""
    directory = str(TEMPLATES / kind)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    return importlib.import_module(name)
