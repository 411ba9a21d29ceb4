"""Streams between hosts of a lab: what they carried, and the longest time in which nothing came."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.lab.worktree import WorkTree

PORT = 5201
SINK = """
import json, socket, sys, time
listener = socket.create_server(("", PORT))
client, _ = listener.accept()
count, last, gap = 0, time.monotonic(), 0.0
while got := client.recv(65536):
    count, now = count + len(got), time.monotonic()
    gap, last = max(gap, now - last), now
print(json.dumps({"bytes": count, "gap_seconds": gap}))
"""
# Slow enough that a computer with two cores has time for everything else.
SEND = """
import socket, time
to = socket.create_connection((ADDRESS, PORT), 5)
begin, sent = time.monotonic(), 0
while time.monotonic() - begin < SECONDS:
    to.sendall(bytes(16384))
    sent += 16384
    time.sleep(max(0, sent * 8 / 1e6 / MEGABITS - (time.monotonic() - begin)))
"""


@dataclass
class Stream:
    """Filled at its end."""

    came: dict[str, float] = field(default_factory=dict)

    @property
    def gap_seconds(self) -> float:
        return self.came["gap_seconds"]


def script(text: str, **values: object) -> list[str]:
    for name, value in values.items():
        text = text.replace(name, repr(value))
    return ["python3", "-c", text]


@contextlib.contextmanager
def stream(
    lab: WorkTree, client: str, server: str, address: str, seconds: float, megabits: int = 40
) -> Iterator[Stream]:
    """Send from one host to another while something else happens; waits for the end."""
    found = Stream()
    sink = start(lab, server, *script(SINK, PORT=PORT))
    listening = ["--", "timeout", "10", "sh", "-c", f"until ss -Hltn 'sport = :{PORT}' | grep -q .; do sleep 0.1; done"]
    lab.lab("exec", server, *listening)
    sender = start(lab, client, *script(SEND, ADDRESS=address, PORT=PORT, SECONDS=seconds, MEGABITS=40))
    try:
        yield found
        told = sender.communicate(timeout=seconds + 20)
        assert sender.returncode == 0, told
        found.came = json.loads(sink.communicate(timeout=20)[0])
    finally:
        for process in (sender, sink):
            process.kill()
        lab.lab("exec", server, "--", "pkill", "-f", "socket.create_server")


def start(lab: WorkTree, machine: str, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["./scripts/lab", "exec", "--stack", lab.stack, machine, "--", *command],
        cwd=lab.tree, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
