"""What a stack costs a month: as its file says, as it runs, and the difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from components.model.facts import CloudFacts
from components.model.topology import SiteView, Topology
from scripts.cli.prices import PriceTable

SITE_TYPE = "vcubev:index:Site"


@dataclass(frozen=True, order=True)
class Charge:
    """Some of one thing that a cloud charges for by the month, at one site."""

    site: str
    cloud: str
    region: str
    kind: str
    name: str
    count: float
    each_usd: float | None  # a month; None: the price table does not know

    @property
    def monthly_usd(self) -> float:
        return (self.each_usd or 0) * self.count

    @property
    def what(self) -> str:
        return f"{self.kind} {self.name}"


def charges(
    site: tuple[str, str, str],
    facts: CloudFacts,
    table: PriceTable | None,
    size: str,
    machines: int,
    public: int,
    nat: str = "",
) -> list[Charge]:
    """Return what a site's machines cost.

    Args:
        site: Its name, cloud and region.
        machines: How many in all.
        public: How many of them have a public address.
        nat: How private machines go out ("gateway", "hub"); "" if there are none.
    """
    if table is None and not facts.prices:
        return []  # the lab, or machines of the user's own: this program makes nobody charge anything
    counted: Counter[tuple[str, str]] = Counter()
    counted["machine", size] += machines  # type: ignore[assignment]
    for times, purpose in ((machines, "machine"), (public, "public"), (1 if nat else 0, f"nat-{nat}")):
        for item in facts.prices.get(purpose, ()):
            counted[item.kind, item.name] += item.count * times  # type: ignore[assignment]
    region = site[2]
    return [
        Charge(*site, kind, name, count, table.monthly_usd(region, kind, name) if table else None)
        for (kind, name), count in sorted(counted.items())
        if count
    ]


def planned(topology: Topology, facts: Mapping[str, CloudFacts], tables: Mapping[str, PriceTable]) -> list[Charge]:
    """Return what a stack will cost when its file is carried out."""
    return [charge for site in topology.sites for charge in _planned(site, facts[site.cloud], tables.get(site.cloud))]


def _planned(site: SiteView, facts: CloudFacts, table: PriceTable | None) -> list[Charge]:
    if facts.brings_machines:
        return []
    hosts = [host for host in site.hosts if not host.unmanaged]
    private = sum(host.private for host in hosts)
    machines = len(site.hubs) + len(hosts)
    place = (site.name, site.cloud, site.region)
    size = site.size or facts.default_size
    return charges(place, facts, table, size, machines, machines - private, site.network.nat if private else "")


def running(state: Mapping[str, Any], tables: Mapping[str, PriceTable]) -> list[Charge]:
    """Return what a stack costs now.

    Args:
        state: What `pulumi stack export` prints.
    """
    resources = state.get("deployment", {}).get("resources") or []
    known = {resource["urn"]: resource for resource in resources}
    counted: Counter[tuple[str, str, str, str, str]] = Counter()
    for resource in resources:
        for cloud, kind, name, region, count in _paid(resource, tables):
            counted[_site_of(resource, known), cloud, region, kind, name] += count  # type: ignore[assignment]
    return [
        Charge(site, cloud, region, kind, name, count, tables[cloud].monthly_usd(region, kind, name))
        for (site, cloud, region, kind, name), count in sorted(counted.items())
    ]


def _paid(resource: Mapping[str, Any], tables: Mapping[str, PriceTable]) -> Iterator[tuple[str, str, str, str, float]]:
    if resource.get("delete") or not resource.get("custom"):
        return  # a predecessor that is about to go is no cost of what runs
    values = {**resource.get("inputs", {}), **resource.get("outputs", {})}
    for cloud, table in tables.items():
        for item in table.state.get(resource["type"], ()):
            name = item.name[1:] if item.name.startswith("=") else str(_at(values, item.name))
            count = float(_at(values, item.count) or 0) if item.count else 1.0
            yield cloud, item.kind, name, str(_at(values, item.region) or ""), count


def _at(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _site_of(resource: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the site that a resource belongs to, by its parents; "" if to none."""
    while resource:
        if resource["type"] == SITE_TYPE:
            urn = resource["urn"].split("::")
            return urn[-1].removeprefix(f"{urn[0].removeprefix('urn:pulumi:')}-")
        resource = known.get(resource.get("parent", ""), {})
    return ""


@dataclass(frozen=True, order=True)
class Change:
    """How many there are of one thing at one site, and how many there will be."""

    site: str
    cloud: str
    region: str
    kind: str
    name: str
    before: float
    after: float
    each_usd: float | None

    @property
    def monthly_usd(self) -> float:
        return (self.each_usd or 0) * (self.after - self.before)


def difference(before: Iterable[Charge], after: Iterable[Charge]) -> list[Change]:
    """Return what changes."""
    counts: dict[tuple[str, ...], list[float]] = {}
    prices: dict[tuple[str, ...], float | None] = {}
    for at, side in enumerate((before, after)):
        for charge in side:
            key = (charge.site, charge.cloud, charge.region, charge.kind, charge.name)
            counts.setdefault(key, [0, 0])[at] += charge.count
            prices[key] = charge.each_usd
    return [Change(*key, *pair, prices[key]) for key, pair in sorted(counts.items()) if pair[0] != pair[1]]


def total(lines: Iterable[Charge | Change]) -> float:
    return round(sum(line.monthly_usd for line in lines), 2)


def unknown(lines: Iterable[Charge | Change]) -> list[str]:
    """Return what has no price, each told once."""
    lacking = {(line.cloud, line.region, line.kind, line.name) for line in lines if line.each_usd is None}
    return [f"{cloud} {region}: {kind} {name}" for cloud, region, kind, name in sorted(lacking)]


def as_json(
    stack: str, plan: list[Charge], changes: list[Change] | None, tables: Mapping[str, PriceTable]
) -> dict[str, Any]:
    """Return all of it for programs."""
    lines = [*plan, *(changes or ())]
    used = sorted({line.cloud for line in lines if line.cloud in tables})
    told: dict[str, Any] = {
        "stack": stack,
        "monthly_usd": total(plan),
        "unknown": unknown(lines),
        "charges": [{**vars(charge), "monthly_usd": round(charge.monthly_usd, 2)} for charge in plan],
        "tables": [
            {"cloud": c, "date": tables[c].date.isoformat(), "checked": tables[c].checked, "sources": tables[c].sources}
            for c in used
        ],
    }
    if changes is not None:
        listed = [{**vars(change), "monthly_usd": round(change.monthly_usd, 2)} for change in changes]
        told["diff"] = {"monthly_usd": total(changes), "changes": listed}
    return told


def show_cost(console: Console, plan: list[Charge], tables: Mapping[str, PriceTable], title: str) -> None:
    """Print a line for each site and what it is made of, with a sum."""
    table = Table("site", "cloud", "region", "what", "count", "each", "USD a month", title=title)
    for column in table.columns[4:]:
        column.justify = "right"
    shown = ""
    for charge in plan:
        place = (charge.site, charge.cloud, charge.region) if charge.site != shown else ("", "", "")
        if shown and charge.site != shown:
            table.add_section()
        shown = charge.site
        each = "?" if charge.each_usd is None else f"{charge.each_usd:.2f}"
        cost = "?" if charge.each_usd is None else f"{charge.monthly_usd:.2f}"
        table.add_row(*place, charge.what, f"{charge.count:g}", each, cost)
    table.add_section()
    table.add_row("all", "", "", "", "", "", f"{total(plan):.2f}", style="bold")
    console.print(table)
    _tell_dates(console, plan, tables)


def show_difference(console: Console, changes: list[Change], tables: Mapping[str, PriceTable]) -> None:
    """Print what changes against what runs."""
    if not changes:
        console.print("The monthly price stays as it is.")
        return
    table = Table("site", "cloud", "region", "what", "now", "then", "USD a month", title="Change of the monthly price")
    for column in table.columns[4:]:
        column.justify = "right"
    for change in changes:
        cost = "?" if change.each_usd is None else f"{change.monthly_usd:+.2f}"
        counts = (f"{change.before:g}", f"{change.after:g}")
        table.add_row(change.site, change.cloud, change.region, f"{change.kind} {change.name}", *counts, cost)
    table.add_section()
    table.add_row("all", "", "", "", "", "", f"{total(changes):+.2f}", style="bold")
    console.print(table)
    _tell_dates(console, changes, tables)


def _tell_dates(console: Console, lines: Iterable[Charge | Change], tables: Mapping[str, PriceTable]) -> None:
    lines = list(lines)
    for cloud in sorted({line.cloud for line in lines if line.cloud in tables}):
        known = tables[cloud]
        doubt = "" if known.checked else ", not checked figure by figure"
        console.print(
            f"{cloud}: list prices written down on {known.date}{doubt}; they change. Traffic and tax come on top. "
            f"Sources: {', '.join(known.sources)}",
            highlight=False,
        )
    for lacking in unknown(lines):
        console.print(f"[yellow]no price known[/]: {lacking}; add it to prices/", highlight=False)
