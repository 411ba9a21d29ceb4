"""Looks at a running network from inside: which hub carries a host, who reaches whom, who can be logged in to."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import asyncssh

from components.model.files import CONSTANTS
from scripts.cli.inventory import Access, Inventory, Member

# Where agents say how they are.
HUB_STATE, HOST_STATE = "/run/vcubev-hub/state.json", "/run/vcubev-paths/state.json"
NEAREST_STATE = "/run/vcubev-nearest/state.json"  # of a host with services at the nearest server
DIRECT_STATE = "/run/vcubev-direct/state.json"  # of a host that has tunnels to other hosts
CONNECT_TIMEOUT_SECONDS = 15
COMMAND_TIMEOUT_SECONDS = 60
JOIN_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.5
# One lost packet is no lost path: up to 4 tries, 300 ms apart.
PING = "ping -n -q -c 4 -i 0.3 -W 1"
ROUND_TRIP = re.compile(r"^(\d+) .*?= ([\d.]+)/[\d.]+/", re.MULTILINE)
# A table that has never held a route is an error to `ip`, which then prints half a list.
SHOW_HOSTS = f"shown=$(ip -j route show table {CONSTANTS['HOSTS_TABLE']} 2>/dev/null) && echo \"$shown\" || echo '[]'"


@dataclass
class Findings:
    """What was seen."""

    carrier: dict[str, str] = field(default_factory=dict)  # host -> hub; no entry: on none
    spares: dict[str, list[str]] = field(default_factory=dict)  # host -> hubs where it has a tunnel more
    reached: dict[tuple[str, str, str], bool] = field(default_factory=dict)  # (from, to, "ipv4" or "ipv6")
    logins: dict[str, str] = field(
        default_factory=dict
    )  # private host -> the hub over which it was logged in to, or ""
    unreachable: dict[str, str] = field(default_factory=dict)  # machine -> why SSH did not reach it

    def all_well(self, inventory: Inventory) -> bool:
        seen = not self.unreachable and set(self.carrier) == set(inventory.hosts)
        return seen and all(self.reached.values()) and all(self.logins.values())


class Unreachable(Exception):
    """SSH does not reach a machine; carries the reason."""


def all_at_once(pings: Mapping[int, str]) -> str:
    """Return a command that prints, for each of some pings, its number and its last line."""
    parts = (f"echo {at} $({ping} 2>/dev/null | tail -n 1)" for at, ping in pings.items())
    return f"{' & '.join(parts)} & wait" if pings else "true"


def round_trips(printed: str) -> dict[int, float]:
    """Read what `all_at_once` printed: number -> the shortest round trip in milliseconds, if any came back."""
    return {int(number): float(rtt) for number, rtt in ROUND_TRIP.findall(printed)}


def places(routes: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Return overlay address -> hubs that have it, that which has its traffic first.

    Args:
        routes: Hub -> the routes of its hosts, as `ip` prints them.
    """
    # The higher mobility number has the traffic.
    found: dict[str, list[tuple[int, str]]] = {}
    for hub, its in routes.items():
        for route in its:
            found.setdefault(route["dst"], []).append((route.get("metric", 0), hub))
    return {address: [hub for _, hub in sorted(numbers, reverse=True)] for address, numbers in found.items()}


class Observer:
    """SSH connections to all machines of a stack, each with its pinned key, opened once."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._key = asyncssh.import_private_key(inventory.private_key)
        self._stack = AsyncExitStack()
        self.connections: dict[str, asyncssh.SSHClientConnection] = {}

    async def __aenter__(self) -> Observer:
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._stack.aclose()

    async def connect(self, findings: Findings, only: Collection[str] | None = None) -> None:
        """Connect to all machines, or to some: hubs first, private hosts through theirs."""
        for members in (self._inventory.hubs, self._inventory.hosts):
            wanted = [member for name, member in members.items() if only is None or name in only]
            await asyncio.gather(*[self._try(member, findings) for member in wanted])

    async def _try(self, member: Member, findings: Findings) -> None:
        try:
            await self.connect_to(member)
        except Unreachable as problem:
            findings.unreachable[member.name] = str(problem)

    async def connect_to(
        self, member: Member, seconds: float = CONNECT_TIMEOUT_SECONDS, over_overlay: bool = False
    ) -> None:
        """Connect to one machine: as SSH usually does, or over the overlay by a hub where its gateway is not there.

        Args:
            seconds: How long each way may take.
            over_overlay: Whether to try that too where the usual way does not answer.

        Raises:
            Unreachable: No way to it answers.
        """
        access = member.ssh
        usual = [(access, access.gateway)] if not access.gateway or access.gateway in self.connections else []
        others = [hub for hub in self.connected_hubs() if hub != access.gateway] if member.role else []
        if (over_overlay or not usual) and others:
            usual.append((replace(access, address=member.ipv4), others[0]))
        why = f"its gateway {access.gateway} is not reachable"
        for way, through in usual:
            try:
                tunnel = self.connections[through] if through else None
                self.connections[member.name] = await self._open(way, tunnel, seconds)
                return
            except KeyError:
                why = f"hub {through} has gone"
            except (OSError, asyncssh.Error, TimeoutError) as problem:
                why = str(problem) or (f"no answer within {seconds:g} s" if isinstance(problem, TimeoutError) else "")
                why = why or type(problem).__name__
        raise Unreachable(why)

    def forget(self, name: str) -> None:
        """Take a connection for dead."""
        if connection := self.connections.pop(name, None):
            connection.abort()

    async def _open(
        self,
        access: Access,
        tunnel: asyncssh.SSHClientConnection | None,
        seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> asyncssh.SSHClientConnection:
        connection = await asyncio.wait_for(
            asyncssh.connect(
                access.address,
                access.port,
                username=self._inventory.user,
                client_keys=[self._key],
                known_hosts=([asyncssh.import_public_key(access.host_key)], [], []),
                server_host_key_algs=["ssh-ed25519"],
                tunnel=tunnel,
                config=None,
                agent_path=None,
            ),
            seconds,
        )
        return await self._stack.enter_async_context(connection)

    def connected_hubs(self) -> list[str]:
        return [hub for hub in self._inventory.hubs if hub in self.connections]

    async def run(self, machine: str, command: str, typed: str = "", seconds: float = COMMAND_TIMEOUT_SECONDS) -> str:
        """Return what a command prints on a machine; its exit code does not matter.

        Args:
            typed: Its standard input.
        """
        done = await asyncio.wait_for(self.connections[machine].run(command, input=typed or None), seconds)
        return str(done.stdout)

    async def carriers(self) -> dict[str, list[str]]:
        """Return host -> hubs that it has tunnels to, that which has its traffic first."""
        places = await self.places()
        return {host.name: places.get(host.ipv4, []) for host in self._inventory.hosts.values()}

    async def state(self, machine: str) -> dict[str, Any]:
        """Return what a machine's agent says of itself; {} where it says nothing."""
        path = HUB_STATE if machine in self._inventory.hubs else HOST_STATE
        try:
            return json.loads(await self.run(machine, f"cat {path} 2>/dev/null") or "{}")
        except (OSError, asyncssh.Error, TimeoutError, ValueError):
            return {}

    async def places(self) -> dict[str, list[str]]:
        """Ask all hubs who has tunnels to them; return overlay address -> hubs, that which has its traffic first."""
        hubs = self.connected_hubs()
        answers = await asyncio.gather(*[self.run(hub, SHOW_HOSTS) for hub in hubs])
        return places(dict(zip(hubs, map(json.loads, answers), strict=True)))

    async def routed(self) -> bool:
        """Tell whether every reachable hub has a route to every host, both families."""
        wanted = {getattr(host, family) for host in self._inventory.hosts.values() for family in ("ipv4", "ipv6")}
        hubs = self.connected_hubs()
        show = "ip -4 -j route show; ip -6 -j route show"
        answers = await asyncio.gather(*[self.run(hub, show) for hub in hubs])
        tables = [
            [route["dst"] for part in answer.split("\n") if part for route in json.loads(part)] for answer in answers
        ]
        return all(wanted <= set(table) for table in tables)

    async def reach(self, host: str, others: Iterable[Member]) -> dict[tuple[str, str, str], float | None]:
        """Ping all others from one host, both families at once; return milliseconds, None where none came back."""
        targets = [(other, family) for other in others for family in ("ipv4", "ipv6")]
        pings = {at: f"{PING} {getattr(other, family)}" for at, (other, family) in enumerate(targets)}
        answered = round_trips(await self.run(host, all_at_once(pings)))
        return {(host, other.name, family): answered.get(at) for at, (other, family) in enumerate(targets)}

    async def login(self, host: Member) -> str:
        """Log in to a host at its virtual address over a hub of another site, where there is one; name that hub."""
        hubs = sorted(self._inventory.hubs.values(), key=lambda hub: hub.site == host.site)
        via = next(hub.name for hub in hubs if hub.name in self.connections)
        try:
            connection = await self._open(replace(host.ssh, address=host.ipv4), self.connections[via])
            seen = await asyncio.wait_for(connection.run("ip -4 -o address show dev lo"), COMMAND_TIMEOUT_SECONDS)
        except (OSError, asyncssh.Error, TimeoutError):
            return ""
        return via if f" {host.ipv4}/32 " in str(seen.stdout) else ""


async def look(inventory: Inventory) -> Findings:
    """Look at the whole network once, after giving machines time to boot and hosts time to join."""
    findings, clock = Findings(), asyncio.get_running_loop().time
    async with Observer(inventory) as observer:
        await observer.connect(findings)
        deadline = clock() + JOIN_TIMEOUT_SECONDS
        while True:
            expected = set(inventory.hosts) - set(findings.unreachable)
            tunnels = await observer.carriers()
            wanted = min(2, len(observer.connected_hubs()))
            joined = all(len(tunnels[name]) >= wanted for name in expected) and await observer.routed()
            if (joined and not findings.unreachable) or clock() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
            missing = set(findings.unreachable)  # one that has just been started boots still
            findings.unreachable.clear()
            await observer.connect(findings, missing)
        findings.carrier = {name: hubs[0] for name, hubs in tunnels.items() if hubs}
        findings.spares = {name: hubs[1:] for name, hubs in tunnels.items()}
        hosts = inventory.hosts.values()
        pinging = sorted(expected) if inventory.pings else []
        results = await asyncio.gather(
            *[observer.reach(name, [h for h in hosts if h.name != name]) for name in pinging]
        )
        for result in results:
            findings.reached |= {way: rtt is not None for way, rtt in result.items()}
        private = [host for host in hosts if host.private]
        logins = await asyncio.gather(*[observer.login(host) for host in private])
        findings.logins = {host.name: via for host, via in zip(private, logins, strict=True)}
    return findings
