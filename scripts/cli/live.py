"""What a running stack looks like from inside: states, tunnels, round trips. Changes nothing on any machine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping

import asyncssh

from components.model.topology import Topology
from scripts.cli.inventory import Inventory, Member
from scripts.cli.picture import DOWN, UNFIT, UP, Seen, Tunnel
from scripts.cli.reach import HOST_STATE, HUB_STATE, Findings, Observer

# By IPv6, for a hub that drains answers IPv4 pings with a refusal.
PING = "ping -6 -n -q -c 3 -i 0.2 -W 1"
ROUND_TRIP = re.compile(r"^(\d+) .*?= ([\d.]+)/[\d.]+/", re.MULTILINE)


async def observe(inventory: Inventory, topology: Topology) -> Seen:
    """Look at all machines at once; those that cannot be reached are part of what is seen."""
    findings = Findings()
    members: dict[str, str] = {}
    tunnels: dict[str, tuple[Tunnel, ...]] = {}
    links: dict[tuple[str, str], float | None] = {}
    async with Observer(inventory) as observer:
        await observer.connect(findings)
        why = {name: f"SSH: {reason}" for name, reason in findings.unreachable.items()}
        linked = [(link.listener, link.dialer) for link in topology.links]
        ends = [end for pair in linked for end in (pair, pair[::-1])]

        async def hub(name: str) -> None:
            peers = [peer for own, peer in ends if own.key == name and peer.key in inventory.hubs]
            others = {peer.id: inventory.hubs[peer.key] for peer in peers}
            state, pings = await asyncio.gather(
                state_of(observer, name, HUB_STATE), _answer(observer, name, ping_links(others))
            )
            fit = bool(state.get("fit"))
            members[name] = UP if fit else UNFIT
            if not fit:
                why[name] = ", ".join(state.get("reasons", ())) or "its agent says nothing"
            if pings is not None:
                answered = round_trips(pings)
                links.update({(name, other.name): answered.get(number) for number, other in others.items()})

        async def host(name: str) -> None:
            state = await state_of(observer, name, HOST_STATE)
            found = _tunnels(state)
            tunnels[name] = found
            well = any(tunnel.carries and tunnel.alive for tunnel in found)
            members[name] = UP if well else DOWN
            if not well:
                why[name] = "no tunnel" if state else "its agent says nothing"

        wanted = [name for name in observer.connections if name in inventory.hubs]
        places, *_ = await asyncio.gather(
            _places(observer),
            *(hub(name) for name in wanted),
            *(host(name) for name in observer.connections if name in inventory.hosts),
        )
    for name in findings.unreachable:
        members[name] = DOWN
        known = inventory.hosts.get(name)
        if known and (carried := places.get(known.ipv4)):
            # The hubs carry it; only we do not reach it.
            members[name], why[name] = UNFIT, f"carried, but {why[name]}"
            tunnels[name] = tuple(Tunnel(hub, at == 0, True) for at, hub in enumerate(carried))
    for host in topology.hosts:
        # A laptop that is away is nothing to worry about.
        if host.unmanaged and (carried := places.get(str(host.address.ipv4))):
            members[host.name] = UP
            tunnels[host.name] = tuple(Tunnel(hub, at == 0, True) for at, hub in enumerate(carried))
    return Seen(members, why, tunnels, links)


def ping_links(others: Mapping[int, Member]) -> str:
    """Return a command that prints, for each other hub, its id and ping's last line: by its link alone."""
    pings = (f"echo {at} $({PING} -I link{at} {hub.ipv6} 2>/dev/null | tail -n 1)" for at, hub in others.items())
    return f"{' & '.join(pings)} & wait" if others else "true"


def round_trips(told: str) -> dict[int, float]:
    """Read what `ping_links` prints: hub's id -> milliseconds; no entry for one that did not answer."""
    return {int(number): float(milliseconds) for number, milliseconds in ROUND_TRIP.findall(told)}


def _tunnels(state: dict) -> tuple[Tunnel, ...]:
    paths = state.get("paths", {})
    return tuple(
        Tunnel(path["hub"], str(state.get("active")) == number, path["alive"], path["rtt_ms"], path["loss"])
        for number, path in sorted(paths.items())
        if path["hub"]
    )


async def state_of(observer: Observer, machine: str, path: str) -> dict:
    """Return what an agent says of itself; {} where it says nothing."""
    try:
        return json.loads(await _answer(observer, machine, f"cat {path} 2>/dev/null || sudo cat {path}") or "{}")
    except ValueError:
        return {}


async def _places(observer: Observer) -> dict[str, list[str]]:
    try:
        return await observer.places() if observer.connected_hubs() else {}
    except (OSError, asyncssh.Error, TimeoutError, ValueError):
        return {}


async def _answer(observer: Observer, machine: str, command: str) -> str | None:
    try:
        return await observer.run(machine, command)
    except (OSError, asyncssh.Error, TimeoutError):
        return None
