"""The attacker's machine, and what the defenders' machines say of an attack: their logs and their counters."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path

from lab import containers, machines
from lab.addresses import GATEWAY
from lab.records import Machine, load
from tests.lab.attacks.dialing import Dialer
from tests.lab.attacks.packets import Wire
from tests.lab.faults.world import PROJECT, World

HUB, PORT, TCP_PORT = "oregon/a", 1194, 443  # the hub that is attacked, and its doors
HOSTS_UDP, HOSTS_TCP = "vcubev-hosts@udp", "vcubev-hosts@tcp"
SOCKET = "run/vcubev-hosts-udp/management.sock"
QUIET, LOUD = 3, 4  # OpenVPN tells of single packets that it drops from 4 on; 3 is what it runs with
# Before and after the machine's own packet filter, whose chains have priority 0.
TABLE = """table inet attack {{
  chain before {{ type filter hook input priority filter - 50; {match} counter; }}
  chain after {{ type filter hook input priority filter + 50; {match} counter; }}
}}
"""


def record(world: World, name: str) -> Machine:
    """Return what the lab knows of a machine: its underlay addresses above all."""
    stack = load(PROJECT, world.tree.stack)
    return machines.named(stack, f"{stack.name}-{name.replace('/', '-')}")


def underlay(world: World, name: str) -> str:
    return str(record(world, name).address)


def within(world: World, name: str) -> str:
    """Return the address by which a machine is known at its own site."""
    return str(record(world, name).addresses[-1])


def wire(world: World, name: str, device: str) -> Wire:
    return Wire(world.namespace(name), device)


def root_of(world: World, name: str) -> Path:
    """Return a machine's "/" as seen from this computer."""
    return Path(f"/proc/{containers.leader(world.namespace(name))}/root")


def dialer(world: World, name: str) -> Dialer:
    """Return OpenVPN in the hands of whoever has a machine."""
    return Dialer(partial(world.start, name), root_of(world, name))


class Stranger:
    """A machine on the underlay that is none of the mesh's."""

    name = "stranger"

    def __init__(self, world: World) -> None:
        self.world = world
        neighbour = record(world, HUB)
        # Behind the hubs' firewall: what is let in to a hub is let in to whoever poses as one.
        place = (neighbour.network_id, neighbour.firewall_id)
        full = f"{world.tree.stack}-{self.name}"
        machines.create_machine(PROJECT, world.tree.stack, full, *place, neighbour.image, "#cloud-config\n{}", True)
        self.address = underlay(world, self.name)
        self.dialer = dialer(world, self.name)

    def wire(self) -> Wire:
        return wire(self.world, self.name, "eth0")

    @cached_property
    def gateway(self) -> bytes:
        """Where its packets go first, as an address on the wire."""
        told = self.world.run(self.name, f"ping -q -c 1 {GATEWAY} >/dev/null; ip neigh show {GATEWAY}")
        return bytes.fromhex(re.search(r"lladdr (\S+)", told)[1].replace(":", ""))

    def remove(self) -> None:
        self.dialer.stop()
        machines.delete_machine(PROJECT, self.world.tree.stack, record(self.world, self.name).id)


class Journal:
    """What a machine's units log from now on, or programs of some names."""

    def __init__(self, world: World, machine: str, *units: str, programs: tuple[str, ...] = ()) -> None:
        self._world, self._machine = world, machine
        # A process that ends at once is often gone before the journal can tell which unit it was of.
        self._units = " ".join([*(f"-u '{unit}'" for unit in units), *(f"-t '{program}'" for program in programs)])
        last = world.run(machine, "journalctl -q -n 1 --show-cursor -o cat")
        self._cursor = re.search(r"-- cursor: (\S+)", last)[1]

    def text(self) -> str:
        return self._world.run(
            self._machine, f"journalctl -q --no-pager -o cat --after-cursor='{self._cursor}' {self._units}"
        )

    def until(self, wanted: str, seconds: float = 5) -> str:
        """Return all that was logged, once a line matches.

        Raises:
            AssertionError: None does, in that time.
        """
        deadline = time.monotonic() + seconds
        while not re.search(wanted, text := self.text()):
            assert time.monotonic() < deadline, f"{self._machine} logged no {wanted!r}, but:\n{text[-3000:]}"
            time.sleep(0.1)
        return text


@contextmanager
def loud(world: World, hub: str) -> Iterator[Journal]:
    """Let a hub's OpenVPN log each packet that it drops; yields its log."""
    journal = Journal(world, hub, HOSTS_UDP)
    _verbosity(world, hub, LOUD)
    try:
        yield journal
    finally:
        _verbosity(world, hub, QUIET)


def _verbosity(world: World, hub: str, level: int) -> None:
    with socket.socket(socket.AF_UNIX) as management:
        management.settimeout(3)
        management.connect(str(root_of(world, hub) / SOCKET))
        management.sendall(f"verb {level}\n".encode())
        told = b""
        while b"SUCCESS: verb" not in told:
            part = management.recv(4096)
            assert part, told
            told += part


class Counted:
    """How many packets came to a machine's packet filter, and how many it let in."""

    def __init__(self, world: World, machine: str) -> None:
        self._world, self._machine = world, machine

    def packets(self) -> tuple[int, int]:
        told = json.loads(self._world.run(self._machine, "nft -j list table inet attack"))
        found = {"before": 0, "after": 0}
        for rule in (entry["rule"] for entry in told["nftables"] if "rule" in entry):
            found[rule["chain"]] += sum(part["counter"]["packets"] for part in rule["expr"] if "counter" in part)
        return found["before"], found["after"]


@contextmanager
def counted(world: World, machine: str, match: str) -> Iterator[Counted]:
    """Count packets on both sides of a machine's packet filter; `match` in the words of nft."""
    world.run(machine, f"nft -f - <<'END'\n{TABLE.format(match=match)}END")
    try:
        yield Counted(world, machine)
    finally:
        world.run(machine, "nft delete table inet attack")
