"""Builds a language host that the engine's own build has not: YAML's. For who runs such programs; `up` needs none.

    python3 engine/languages.py yaml

prints the directory that belongs on PATH. Like engine/get.py, all that it makes lies in the cache and is made once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.get import CACHE, go_build, locked, pinned_version

SOURCES = {"yaml": ("language-yaml", "github.com/pulumi/pulumi-yaml")}


def host_directory(language: str) -> Path:
    """Return the directory of a language host: the user's own, else the cache's."""
    program = f"pulumi-language-{language}"
    directory, module = SOURCES[language]
    made = CACHE / "languages" / f"{language}-{pinned_version(module, directory)}"
    own = shutil.which(program)
    if own and Path(own).parent != made:
        return Path(own).parent
    with locked(f"language-{language}"):
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=made.parent))
            try:
                go_build(directory, ".", draft / program, "")
                draft.chmod(0o755)
                draft.rename(made)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return made


if __name__ == "__main__":
    print(host_directory(sys.argv[1]))
