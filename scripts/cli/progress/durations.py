"""How long steps took on this computer: what the time that is left is known from."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from statistics import median

KEPT = 5  # of each kind of step: clouds and computers change


def cache_file() -> Path:
    """Where they are kept from run to run: in the cache, for state_directory() goes with the last lab stack."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vcubev" / "durations.json"


class Durations:
    """Kind of step -> the seconds that the last ones took, of earlier runs and of this one."""

    def __init__(self, known: dict[str, list[float]] | None = None) -> None:
        self._known = {kind: list(seconds) for kind, seconds in (known or {}).items()}

    @classmethod
    def read(cls, file: Path) -> Durations:
        """Read what is known; nothing, where the file is not there or is none of ours."""
        try:
            read = json.loads(file.read_text())
            return cls({str(kind): [float(second) for second in seconds][-KEPT:] for kind, seconds in read.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return cls()

    def add(self, kind: str, seconds: float) -> None:
        self._known[kind] = [*self._known.get(kind, ()), round(seconds, 1)][-KEPT:]

    def usual(self, kind: str) -> float | None:
        """Return how many seconds such a step takes; None if none was ever seen."""
        known = self._known.get(kind)
        return median(known) if known else None

    def write(self, file: Path) -> None:
        """Keep them for later runs, whole or not at all; a disk that is full costs no `up`."""
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(prefix=".durations-", dir=file.parent)
            try:
                with os.fdopen(descriptor, "w") as out:
                    json.dump(self._known, out, indent=1, sort_keys=True)
                os.replace(draft, file)
            except OSError:
                os.unlink(draft)
