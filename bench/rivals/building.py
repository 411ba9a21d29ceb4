"""Builds the rivals that no package has, from their Go modules, once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from engine.get import CACHE, go_build, locked, pinned_version

HERE = Path(__file__).parent
# Program -> where its go.mod is, its module, its package.
PROGRAMS = {
    "nebula": ("nebula", "github.com/slackhq/nebula", "/cmd/nebula"),
    "nebula-cert": ("nebula", "github.com/slackhq/nebula", "/cmd/nebula-cert"),
    "wireguard-go": ("wireguard", "golang.zx2c4.com/wireguard", ""),
}


def version(program: str) -> str:
    folder, module, _ = PROGRAMS[program]
    return pinned_version(module, str(HERE / folder))


def built(program: str) -> Path:
    """Return the program's file in the cache."""
    folder, module, package = PROGRAMS[program]
    target = CACHE / "rivals" / f"{program}-{version(program)}"
    with locked("rivals"):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
            try:
                go_build(str(HERE / folder), module + package, draft / program, "")
                (draft / program).rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return target
