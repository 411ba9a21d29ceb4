"""Asks all machines of a stack at once, and puts what all judges say together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from components.model.facts import CloudFacts
from components.model.topology import Topology
from scripts.cli.doctor import machines, network
from scripts.cli.doctor.examined import Examined, Trouble
from scripts.cli.doctor.network import FULL_BYTES
from scripts.cli.inventory import Inventory
from scripts.cli.probing import NoAnswer, ask
from scripts.cli.reach import Findings, Observer

SECONDS = 30
JUDGES: tuple[Callable[[Examined], Iterator[Trouble]], ...] = (
    machines.clocks,
    network.narrow_paths,
    network.tunnels,
    network.routes,
    machines.disks,
    machines.certificates,
    network.overlaps,
    machines.names,
    machines.daemons,
    machines.versions,
)


async def examine(
    stack: str, topology: Topology, inventory: Inventory, clouds: Mapping[str, CloudFacts]
) -> tuple[Examined, list[Trouble]]:
    """Return what all machines tell, and which of them told nothing."""
    findings, silent = Findings(), []
    facts: dict[str, Mapping[str, Any]] = {}
    ahead: dict[str, float] = {}
    endpoints = {hub.name: hub.ssh.address for hub in inventory.hubs.values()}

    async def one(machine: str) -> None:
        others = {name: address for name, address in endpoints.items() if name != machine}
        try:
            told = await ask(observer, machine, ("examine",), {"hubs": others, "full_bytes": FULL_BYTES}, SECONDS)
        except NoAnswer as problem:
            why = "what is wrong with it cannot be told"
            cure = f"vcubev ssh {machine} --stack {stack} -- 'systemctl --failed; df -h; uptime'"
            silent.append(Trouble("unreachable", machine, f"it lets us in, but {problem}", why, (cure,)))
            return
        ahead[machine] = told["time"] - time.time()
        facts[machine] = told

    async with Observer(inventory) as observer:
        await observer.connect(findings)
        await asyncio.gather(*[one(name) for name in observer.connections])
    for name, why in sorted(findings.unreachable.items()):
        cures = (f"vcubev up {stack}", f"look at {name}'s console at its cloud")
        seen = f"SSH does not reach it: {why}"
        silent.append(Trouble("unreachable", name, seen, "nothing of it can be seen; it may be off", cures))
    sites = {site.name: site for site in topology.sites}
    resolvers = {
        member.name: clouds[sites[member.site].cloud].has_resolver
        for member in (*inventory.hubs.values(), *inventory.hosts.values())
        if member.site in sites
    }
    return Examined(stack, topology, inventory, facts, ahead, datetime.now(UTC), resolvers), silent


def judged(seen: Examined) -> list[Trouble]:
    return [trouble for judge in JUDGES for trouble in judge(seen)]
