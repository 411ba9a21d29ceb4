"""Takes a bench's machines away when the bench has died, however it died."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab import leftovers
from lab.records import Stack
from tests.lab.worktree import ROOT

DONE = b"d"
# An engine that was making machines when its bench was killed goes on for a while.
QUIET_SECONDS, LONGEST_SECONDS = 8, 120


@contextmanager
def swept(directory: str, *stacks: str) -> Iterator[None]:
    """Have a process of its own wait for this one's end, and clear up after one that can't.

    Args:
        stacks: Names of lab stacks, "project.stack".
    """
    command = [sys.executable, "-m", "bench.sweeping", directory, *stacks]
    watcher = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        sweep(*stacks)
        watcher.stdin.write(DONE)
        watcher.stdin.close()
        watcher.wait()


def sweep(*stacks: str) -> bool:
    """Remove what the lab has of some stacks; tell whether there was anything."""
    named = [Stack(project=project, name=name) for project, name in (stack.split(".", 1) for stack in stacks)]
    there = [stack for stack in named if leftovers.find(stack)]
    for stack in there:
        leftovers.sweep(stack)
    return bool(there)


if __name__ == "__main__":
    if sys.stdin.buffer.read() != DONE:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        deadline, quiet = time.monotonic() + LONGEST_SECONDS, 0
        while time.monotonic() < deadline and quiet < QUIET_SECONDS:
            quiet = 0 if sweep(*sys.argv[2:]) else quiet + 1
            time.sleep(1)
