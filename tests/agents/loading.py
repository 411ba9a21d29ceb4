"""The agents are files for machines, not modules of this program; here they are loaded as such."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

AGENTS = Path(__file__).parents[2] / "components" / "templates" / "agents"


def load(name: str) -> ModuleType:
    """Return an agent's file as a module, the same one each time."""
    if str(AGENTS) not in sys.path:
        sys.path.insert(0, str(AGENTS))
    return importlib.import_module(name)
