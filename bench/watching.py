"""Runs a command and watches what its processes take: seconds, and memory by kind of process."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.2
PAGE_MEGABYTES = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Watched:
    """One run of a command."""

    returncode: int
    output: str
    errors: str
    seconds: float
    cpu_seconds: float
    megabytes: dict[str, float]  # "engine", "program", "plugins" -> the highest that was seen


def watched(command: list[str], cwd: Path, environment: dict[str, str]) -> Watched:
    """Run a command to its end."""
    megabytes: dict[str, float] = {}
    before = os.times()
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=errors)
        while process.poll() is None:
            for kind, now in _memory(process.pid).items():
                megabytes[kind] = max(megabytes.get(kind, 0), now)
            time.sleep(LOOK_SECONDS)
        seconds, after = time.monotonic() - started, os.times()
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read())
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Watched(process.returncode, *texts, seconds, cpu, megabytes)


def _memory(root: int) -> dict[str, float]:
    """Return what a process and all below it hold in memory."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    family = {root}
    for _ in range(8):  # as deep as an engine's processes are
        family |= {pid for pid, parent in parents.items() if parent in family}
    found: dict[str, float] = {}
    for pid in family:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        kind = _kind(words)
        found[kind] = found.get(kind, 0) + pages * PAGE_MEGABYTES
    return found


def _kind(words: list[str]) -> str:
    names = {Path(word).name for word in words[:3]}
    if any(name.startswith("pulumi-resource-") for name in names):
        return "plugins"
    return "program" if "pulumi-language-python-exec" in " ".join(words) else "engine"
