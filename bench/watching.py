"""Runs a command and watches what its processes take: seconds, and memory by kind of process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.2
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
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
    cpu: dict[str, float]  # the same kinds -> CPU seconds, nearly: what a process does after the last look is not seen


def watched(command: list[str], cwd: Path, environment: dict[str, str]) -> Watched:
    """Run a command to its end."""
    megabytes: dict[str, float] = {}
    cpu: dict[int, tuple[str, float]] = {}
    before = os.times()
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=errors)
        while process.poll() is None:
            now: dict[str, float] = {}
            for pid, kind, held, spent in _family(process.pid):
                now[kind] = now.get(kind, 0) + held
                cpu[pid] = kind, spent
            megabytes |= {kind: max(held, megabytes.get(kind, 0)) for kind, held in now.items()}
            time.sleep(LOOK_SECONDS)
        seconds, after = time.monotonic() - started, os.times()
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read())
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    kinds = {kind: sum(own for of, own in cpu.values() if of == kind) for kind, _ in cpu.values()}
    return Watched(process.returncode, *texts, seconds, spent, megabytes, kinds)


def _family(root: int) -> Iterator[tuple[int, str, float, float]]:
    """Yield (process, kind, megabytes, CPU seconds) of a process and of all below it."""
    stats: dict[int, list[str]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stats[int(entry)] = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
    family = {root}
    for _ in range(8):  # as deep as an engine's processes are
        family |= {pid for pid, stat in stats.items() if int(stat[1]) in family}
    for pid in family & stats.keys():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MEGABYTES
            yield pid, _kind(words), held, (int(stats[pid][11]) + int(stats[pid][12])) / TICKS_A_SECOND


def _kind(words: list[str]) -> str:
    names = {Path(word).name for word in words[:3]}
    if any(name.startswith("pulumi-resource-") for name in names):
        return next(name for name in names if name.startswith("pulumi-resource-"))
    return "program" if "pulumi-language-python-exec" in " ".join(words) else "engine"
