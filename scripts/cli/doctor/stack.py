"""What is wrong with the stack itself: an `up` that did not come to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.cli.doctor.examined import Examined, Trouble, moment
from scripts.cli.state import resources

MEMBER_TYPES = ("vcubev:index:Hub", "vcubev:index:Host")
COMMAND = "command:remote:Command"
WHY = "machines may have some of their files and not others, or none; what the engine was at may exist unknown to it"


def half_run(stack: str, state: Mapping[str, Any], declared: set[str]) -> Iterator[Trouble]:
    """Judge by the state alone, its secrets encrypted or not.

    Args:
        declared: The names of all machines in the stack file, as the engine has them: STACK-oregon-a, STACK-web-1.
    """
    cure = (f"vcubev up {stack}",)
    deployment = state.get("deployment", {})
    found = resources(state)
    if pending := deployment.get("pending_operations") or ():
        names = [f"{one['type']} of {_name(one['resource']['urn'])}" for one in pending]
        told = f"an up was broken off while it was at: {', '.join(sorted(names))}"
        yield Trouble("half-run", "the state", told, WHY, cure)
    installed = {_name(one["urn"]).removesuffix("-install") for one in found if one["type"] == COMMAND}
    members = {_name(one["urn"]) for one in found if one["type"] in MEMBER_TYPES}
    for name in sorted(members & declared - installed):
        yield Trouble("half-run", _told(stack, name), "it is made, or being made, but was never set up", WHY, cure)
    for name in sorted(declared - members):
        why = "an up never came to it, or there was none since it was written down"
        yield Trouble("half-run", _told(stack, name), "it is in the stack file and not in the state", why, cure)
    for name in sorted(members - declared):
        why = "an up never came to its removal, or there was none since it was taken out"
        yield Trouble("half-run", _told(stack, name), "it is in the state and not in the stack file", why, cure)
    doomed = sorted(_name(one["urn"]) for one in deployment.get("resources") or () if one.get("delete"))
    if doomed:
        told = f"what was replaced is still there: {', '.join(doomed)}"
        yield Trouble("half-run", "the state", told, "an up was broken off before it had cleared up", cure)


def half_installed(seen: Examined, bundles: Mapping[str, set[str]]) -> Iterator[Trouble]:
    """Judge by the machines.

    Args:
        bundles: Machine -> the bundles that it has by the state.
    """
    for name, facts in sorted(seen.facts.items()):
        there = facts["bundles"]
        broken = {bundle: since for bundle, since in there.items() if since}
        lacking = sorted(bundles.get(name, set()) - set(there))
        told = [f"the installation of {', '.join(sorted(broken))} was broken off"] * bool(broken)
        told += [f"by the state it has {', '.join(lacking)}, and it has no record of that"] * bool(lacking)
        if told:
            since = moment(min(broken.values())) if broken else ""
            yield Trouble("half-run", name, "; ".join(told), WHY, (seen.repair(name),), since)


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _told(stack: str, name: str) -> str:
    return name.removeprefix(f"{stack}-")
