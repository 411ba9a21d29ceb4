"""Whether all clouds of a stack let the user in, told before anything is begun."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from components.model.facts import CloudFacts
from components.model.topology import Topology
from scripts.cli.ask import CannotAsk, asker


class NotSignedIn(Exception):
    """Clouds of the stack take the user for nobody; one line for each."""


def check(topology: Topology, facts: Mapping[str, CloudFacts], tell: Callable[[str], None]) -> None:
    """Ask each cloud and account of a stack once, and tell whom it takes the user for.

    Raises:
        NotSignedIn: All that were refused, with the cure for each. No credential is in the text.
    """
    wanted = {(site.cloud, site.account): site.region for site in reversed(topology.sites)}
    asked = sorted(key for key in wanted if facts[key[0]].credentials)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda key: _ask(*key, wanted[key], facts[key[0]]), asked))
    for (cloud, account), (who, _) in zip(asked, answers, strict=True):
        if who:
            tell(f"{cloud}{f' ({account})' if account else ''}: signed in as {who}")
    if refused := [problem for _, problem in answers if problem]:
        raise NotSignedIn("\n".join(refused))


def _ask(cloud: str, account: str, region: str, facts: CloudFacts) -> tuple[str, str]:
    """Return (who, what is wrong), one of the two empty."""
    try:
        if ask := asker(cloud):
            return ask.signed_in(region, account), ""
    except CannotAsk as problem:
        return "", str(problem)
    suffix = f"_{account.upper().replace('-', '_')}" if account else ""
    sets = [[variable + suffix for variable in variables] for variables in facts.credentials]
    if any(all(os.environ.get(variable) for variable in variables) for variables in sets):
        return "the owner of what the environment holds (not asked)", ""
    choices = ", or ".join(" and ".join(variables) for variables in sets)
    return "", f"{cloud}: no credentials. Set {choices}."
