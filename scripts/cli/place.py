"""Where a new site would do best: what it would cost, and how far it would be from the hubs that run."""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from components.model.facts import CloudFacts, CloudNotInstalled
from components.model.topology import Topology
from scripts.cli.cost import charges, total, unknown
from scripts.cli.inventory import Inventory
from scripts.cli.prices import PriceTable
from scripts.cli.reach import Findings, Observer

PING = "ping -n -q -c 5 -i 0.2 -W 1"
AVERAGE_OF = re.compile(r"= [\d.]+/(?P<average>[\d.]+)/")
HERE = "here"
# What a millisecond more to the farthest hub is worth, a month: a choice for people who do not say.
USD_PER_MS = 0.05


@dataclass(frozen=True)
class Wish:
    """What a new site shall have."""

    vcpus: int = 1
    memory_gb: float = 1
    hubs: int = 1
    hosts: int = 0  # public ones
    private: int = 0


@dataclass(frozen=True)
class Offer:
    """One size in one region of one cloud."""

    cloud: str
    region: str
    size: str
    vcpus: int
    memory_gb: float
    monthly_usd: float


@dataclass(frozen=True)
class Ranked:
    """An offer with its distance; `score` is in USD a month, less is better."""

    offer: Offer
    round_trip_ms: float | None  # to the farthest hub; None where nothing runs to measure from
    score: float


def offers(facts: Mapping[str, CloudFacts], tables: Mapping[str, PriceTable], wish: Wish) -> list[Offer]:
    """Return what all installed clouds offer that is large enough and has a price."""
    found = []
    for cloud, table in sorted(tables.items()):
        try:
            known = facts[cloud]
        except CloudNotInstalled:
            continue
        nat = known.nat[0] if wish.private and known.nat else ""
        machines = wish.hubs + wish.hosts + wish.private
        for size, shape in table.sizes.items():
            if shape.vcpus < wish.vcpus or shape.memory_gb < wish.memory_gb:
                continue
            for region in sorted(set(known.regions) | table.regions(size)):
                lines = charges(("", cloud, region), known, table, size, machines, machines - wish.private, nat)
                if not unknown(lines):
                    found.append(Offer(cloud, region, size, shape.vcpus, shape.memory_gb, total(lines)))
    return found


def rank(
    candidates: Iterable[Offer], distances: Mapping[tuple[str, str], float], usd_per_ms: float = USD_PER_MS
) -> list[Ranked]:
    """Put offers in order, the best first.

    A region that nobody has measured counts as the median of those that were: neither praised nor blamed for it. For
    each region only the cheapest size is kept, which is the smallest that the wish allows.

    Args:
        candidates: Any number for each region.
        distances: (cloud, region) -> ms to the farthest hub.
        usd_per_ms: What a millisecond less is worth, a month; 0 ranks by price alone.
    """
    cheapest: dict[tuple[str, str], Offer] = {}
    for offer in candidates:
        key = (offer.cloud, offer.region)
        if key not in cheapest or _price(offer) < _price(cheapest[key]):
            cheapest[key] = offer
    usual = statistics.median(distances.values()) if distances else 0.0
    ranked = [
        Ranked(offer, distances.get(key), offer.monthly_usd + usd_per_ms * distances.get(key, usual))
        for key, offer in cheapest.items()
    ]
    return sorted(ranked, key=lambda one: (one.score, one.offer.cloud, one.offer.region))


def _price(offer: Offer) -> tuple[float, float, int, str]:
    return (offer.monthly_usd, -offer.memory_gb, -offer.vcpus, offer.size)


def farthest(topology: Topology, round_trips: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Return (cloud, region) -> ms to the farthest hub, for regions where a site runs.

    Args:
        round_trips: (hub, hub) -> ms, hubs as "site/hub".
    """
    regions = {site.name: (site.cloud, site.region) for site in topology.sites}
    found: dict[tuple[str, str], float] = {}
    for (source, target), milliseconds in round_trips.items():
        place = regions.get(source.partition("/")[0])
        if place and regions.get(target.partition("/")[0]) != place:
            found[place] = max(found.get(place, 0.0), milliseconds)
    return found


async def measure(inventory: Inventory) -> dict[tuple[str, str], float]:
    """Ping all hubs at their public addresses, from this computer ("here") and from each other; return ms."""
    targets = {hub.ssh.address: name for name, hub in inventory.hubs.items()}
    command = " & ".join(f"{{ echo {address} $({PING} {address} 2>&1); }}" for address in targets) + " & wait"
    found: dict[tuple[str, str], float] = {}
    async with Observer(inventory) as observer:
        await observer.connect(Findings(), only=inventory.hubs)
        hubs = observer.connected_hubs()
        answers = await asyncio.gather(_run_here(command), *[observer.run(hub, command) for hub in hubs])
    for source, answer in zip([HERE, *hubs], answers, strict=True):
        for address, milliseconds in parsed(answer).items():
            if targets.get(address, source) != source:
                found[source, targets[address]] = milliseconds
    return found


def parsed(answer: str) -> dict[str, float]:
    """Read lines of an address and what ping said of it; those that never answered are left out."""
    found = {}
    for line in answer.splitlines():
        if line and (match := AVERAGE_OF.search(line)):
            found[line.split()[0]] = float(match["average"])
    return found


async def _run_here(command: str) -> str:
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()


def as_json(ranked: list[Ranked], round_trips: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """Return all of it for programs."""
    listed = [asdict(one.offer) | {"round_trip_ms": one.round_trip_ms, "score": round(one.score, 2)} for one in ranked]
    measured = [{"from": a, "to": b, "round_trip_ms": ms} for (a, b), ms in sorted(round_trips.items())]
    return {"choices": listed, "measured": measured}


def show_places(
    console: Console,
    ranked: list[Ranked],
    round_trips: Mapping[tuple[str, str], float],
    tables: Mapping[str, PriceTable],
) -> None:
    """Print the choices, and what was measured."""
    if round_trips:
        table = Table("from", "to", "ms", title="Measured round trips to the hubs")
        for (source, target), milliseconds in sorted(round_trips.items()):
            table.add_row(source, target, f"{milliseconds:.1f}")
        console.print(table)
    table = Table("", "cloud", "region", "size", "vCPU", "GB", "USD a month", "ms to the farthest hub", title="Choices")
    for at, one in enumerate(ranked, 1):
        offer = one.offer
        distance = "not measured" if one.round_trip_ms is None else f"{one.round_trip_ms:.1f}"
        shape = (str(offer.vcpus), f"{offer.memory_gb:g}")
        table.add_row(str(at), offer.cloud, offer.region, offer.size, *shape, f"{offer.monthly_usd:.2f}", distance)
    console.print(table)
    for cloud in sorted({one.offer.cloud for one in ranked}):
        console.print(f"{cloud}: prices written down on {tables[cloud].date}; they change", highlight=False)
