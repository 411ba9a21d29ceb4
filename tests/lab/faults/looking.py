"""Looks names up on a machine as its programs do: by the C library and whatever the machine's resolver is."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from components.model.topology import DEFAULT_DOMAIN
from tests.lab.faults.world import World

LOOK = """
import json, socket, sys
def find(name, family):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)})
    except OSError:
        return []
def back(address):
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        return None
names, addresses = json.load(sys.stdin)
print(json.dumps([{name: find(name, socket.AF_INET) + find(name, socket.AF_INET6) for name in names},
                  {address: back(address) for address in addresses}]))
"""
WATCH = """
import json, select, socket, sys, time
name, seen = sys.argv[1], []
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.05)[0]:
    began = time.monotonic()
    try:
        found = sorted({one[4][0] for one in socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)})
    except OSError:
        found = []
    seen.append((began, time.monotonic() - began, found))
print(json.dumps(seen))
"""


def full(*labels: str) -> str:
    return ".".join((*labels, DEFAULT_DOMAIN))


def look_up(
    world: World, machine: str, names: Iterable[str], addresses: Iterable[str] = ()
) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """Return name -> addresses, those of IPv4 first, and address -> name, as a machine finds them."""
    asking = world.start(machine, "python3", "-c", LOOK)
    printed, problem = asking.communicate(json.dumps([list(names), list(addresses)]), timeout=120)
    assert asking.returncode == 0, problem
    found, back = json.loads(printed)
    return found, back


@dataclass(frozen=True)
class Answer:
    """One look-up."""

    began: float  # of the one clock of all lab machines, in seconds
    seconds: float
    addresses: list[str]


@contextmanager
def watched(world: World, machine: str, name: str) -> Iterator[list[Answer]]:
    """Look a name up twenty times a second; the list is filled at the end."""
    answers: list[Answer] = []
    watching = world.start(machine, "python3", "-c", WATCH, name)
    assert watching.stdout.readline() == "ready\n"
    try:
        yield answers
    finally:
        printed, _ = watching.communicate("end\n", timeout=60)
    answers += [Answer(*one) for one in json.loads(printed)]


def until(world: World, machine: str, name: str, expected: list[str], seconds: float) -> float:
    """Wait until a name has these addresses; return how long that took, in seconds."""
    began = time.monotonic()
    while (found := look_up(world, machine, [name])[0][name]) != expected:
        assert time.monotonic() < began + seconds, f"{machine}: {name} is {found}, not {expected}"
        time.sleep(0.1)
    return time.monotonic() - began


def questions(world: World, machine: str, seconds: int) -> subprocess.Popen[str]:
    """Watch for some seconds what leaves a machine for anybody's names."""
    command = ("timeout", str(seconds), "tcpdump", "-n", "-l", "-i", "any", "-p", "udp port 53 or tcp port 53")
    watching = world.start(machine, *command, stderr=subprocess.STDOUT)
    while "listening" not in watching.stdout.readline():
        assert watching.poll() is None
    return watching
