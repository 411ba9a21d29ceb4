"""`vcubev doctor`: what is wrong with a stack, why that matters, and the command that cures it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict

import typer

from components.clouds import known_clouds
from components.model.topology import Topology
from scripts.cli.doctor.asking import examine, judged
from scripts.cli.doctor.examined import Trouble
from scripts.cli.doctor.stack import half_installed, half_run
from scripts.cli.inventory import Inventory
from scripts.cli.stack import Stack
from scripts.cli.state import installations
from scripts.cli.terminal import FAILED, NOT_WELL, Json, StackName, checked, console, errors, tell


def doctor(name: StackName = "lab", as_data: Json = False) -> None:
    """Find the likeliest troubles of a stack, and say of each where, how it was seen, why it matters and the cure.

    Looks at clocks, the width of paths, UDP, routes, disks, certificates and revocation lists, networks that overlap
    the overlay, name servers, hubs' versions, and for an `up` that was broken off. Asks all machines at once; one that
    does not answer is a trouble itself. Changes nothing.

    Exit codes: 0 nothing found; 1 the stack is not up; 2 mistakes in the stack file; 3 troubles.
    """
    stack = checked(name)
    if not stack.exists():
        errors.print(f"Stack {name} is not up.")
        raise typer.Exit(FAILED)
    troubles, examined = _troubles(stack)
    if as_data:
        told = [{**asdict(one), "since": one.since or None} for one in troubles]
        tell({"stack": name, "well": not troubles, "examined": examined, "troubles": told})
    else:
        _show(troubles, examined)
    raise typer.Exit(NOT_WELL if troubles else 0)


def _troubles(stack: Stack) -> tuple[list[Trouble], list[str]]:
    """Return what is wrong, and the machines that were examined."""
    topology = stack.topology()
    # In memory only: it holds every key.
    state = json.loads(stack.answer("stack", "export", "--show-secrets", "-s", stack.name))
    troubles = list(half_run(stack.name, state, _declared(stack.name, topology)))
    outputs = stack.outputs()
    if not outputs.get("hubs"):
        return troubles, []  # the first up was broken off: nobody knows yet how to reach whom
    inventory = Inventory.of(outputs)
    seen, silent = asyncio.run(examine(stack.name, topology, inventory, known_clouds()))
    bundles: dict[str, set[str]] = {}
    for one in installations(state, inventory):
        bundles.setdefault(one.machine, set()).add(one.name)
    return [*silent, *troubles, *half_installed(seen, bundles), *judged(seen)], sorted(seen.facts)


def _declared(stack: str, topology: Topology) -> set[str]:
    hubs = {f"{stack}-{hub.site}-{hub.name}" for hub in topology.hubs}
    return hubs | {f"{stack}-{host.name}" for host in topology.hosts if not host.unmanaged}


def _show(troubles: list[Trouble], examined: list[str]) -> None:
    for number, one in enumerate(troubles, 1):
        console.print(f"[bold]{number}. [yellow]{one.kind}[/] at {one.where}[/]", highlight=False)
        since = f" (since {one.since})" if one.since else ""
        cures = [("cure  ", cure) for cure in one.cures[:1]] + [("      ", cure) for cure in one.cures[1:]]
        for label, told in (("seen  ", f"{one.seen}{since}"), ("why   ", one.why), *cures):
            console.print(f"   [dim]{label}[/]", end="", highlight=False)
            console.print(told, highlight=False, markup=False, soft_wrap=True)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(one.kind for one in troubles).items()))
    console.print(f"{kinds or 'Nothing wrong was found'}; {len(examined)} machines examined.", highlight=False)
