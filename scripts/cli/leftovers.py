"""Asks all clouds of a stack what of it is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from components.model.facts import CloudFacts
from components.model.topology import Topology
from scripts.cli.ask import CannotAsk, Leftover, asker


def find(
    stack: str,
    topology: Topology,
    facts: Mapping[str, CloudFacts],
    clouds: Collection[str] = (),
    all_regions: bool = False,
) -> tuple[list[Leftover], list[str]]:
    """Return what is there, and who could not be asked.

    Args:
        clouds: Clouds to ask beside those of the stack file, in all of their regions.
        all_regions: Whether to look where the stack file names no site, too: sites leave it when they are removed.
    """
    wanted = {(site.cloud, site.account, site.region) for site in topology.sites}
    for cloud in {*clouds, *({site.cloud for site in topology.sites} if all_regions else ())}:
        accounts = {account for known, account, _ in wanted if known == cloud} or {""}
        wanted |= {(cloud, account, region) for account in accounts for region in facts[cloud].regions or ("",)}
    places = sorted(place for place in wanted if not facts[place[0]].brings_machines)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda place: _ask(stack, *place), places))
    found = {item for items, _ in answers for item in items}
    return sorted(found), sorted({problem for _, problem in answers if problem})


def _ask(stack: str, cloud: str, account: str, region: str) -> tuple[list[Leftover], str]:
    try:
        ask = asker(cloud)
        if ask is None:
            return [], f"{cloud}: this program cannot ask it (scripts/cli/ask has no module for it)"
        return list(ask.leftovers(stack, region, account)), ""
    except CannotAsk as problem:
        return [], str(problem)
