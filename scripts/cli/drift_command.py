"""`vcubev drift`: what on the machines is not as the stack made it, and how it becomes so again."""

from __future__ import annotations

import asyncio
import json
from itertools import groupby
from typing import Annotated

import typer

from components.clouds import known_clouds
from scripts.cli import drift as comparing
from scripts.cli import lab
from scripts.cli import ssh as access
from scripts.cli.credentials import check as check_credentials
from scripts.cli.drift import Seen
from scripts.cli.inventory import Inventory
from scripts.cli.probing import NoAnswer
from scripts.cli.stack import EngineFailed, Stack
from scripts.cli.state import installations, whole
from scripts.cli.terminal import BAD_INPUT, FAILED, NOT_WELL, Json, StackName, Yes, checked, console, errors, tell


def drift(
    name: StackName = "lab",
    machines: Annotated[list[str] | None, typer.Argument(help="web-1, oregon/a, ...; all without.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Then an `up`, which installs again what differs, and nothing else.")
    ] = False,
    yes: Yes = False,
    as_data: Json = False,
) -> None:
    """Compare every file, unit and package on the machines with what the stack's state says they were given.

    Also the packet filter in the kernel, kernel settings, and what others have laid beside the stack's files and units.
    Shows differences line by line; of keys, and of all that not everybody on the machine may read, only that it
    differs. Without --repair nothing is changed. It finds accidents, not intruders: who is root on a machine can lie.

    Exit codes: 0 no drift; 1 the stack is not up, or the engine failed; 2 no such machine; 3 drift, or a machine that
    cannot be seen.
    """
    stack = checked(name)
    console.quiet = as_data
    if repair and as_data and not (yes or stack.is_lab()):
        errors.print("With --json there is nobody to ask: add --yes.")
        raise typer.Exit(BAD_INPUT)
    if not stack.exists() or not (outputs := stack.outputs()):
        errors.print(f"Stack {name} is not up.")
        raise typer.Exit(FAILED)
    inventory = whole(outputs)
    only = _chosen(inventory, name, machines or [])
    seen = _look(stack, inventory, only)
    if not repair or not seen.deviations:
        _end(name, seen, as_data)
    _show(seen)
    try:
        _repair(stack, inventory, seen, yes, as_data)
    except NoAnswer as problem:
        raise EngineFailed(f"Nothing was repaired: {problem}") from None
    after = _look(stack, whole(stack.outputs()), only)
    console.rule("after the repair")
    _end(name, after, as_data)


def _chosen(inventory: Inventory, stack: str, machines: list[str]) -> set[str] | None:
    chosen = {wanted: access.find(inventory, stack, wanted) for wanted in machines}
    if unknown := [wanted for wanted, member in chosen.items() if member is None]:
        names = ", ".join(sorted([*inventory.hubs, *inventory.hosts]))
        errors.print(f"There is no {', '.join(unknown)}. There are: {names}.")
        raise typer.Exit(BAD_INPUT)
    return {member.name for member in chosen.values() if member} or None


def _look(stack: Stack, inventory: Inventory, only: set[str] | None) -> Seen:
    # In memory only: it holds every key.
    state = json.loads(stack.answer("stack", "export", "--show-secrets", "-s", stack.name))
    return asyncio.run(comparing.look(inventory, installations(state, inventory), only))


def _repair(stack: Stack, inventory: Inventory, seen: Seen, yes: bool, quiet: bool) -> None:
    """Let an `up` give machines again what differs there.

    Raises:
        NoAnswer: A machine has gone meanwhile.
        EngineFailed: The user has been told why.
    """
    topology = stack.topology()
    if not stack.is_lab():
        check_credentials(topology, known_clouds(), lambda line: console.print(line, highlight=False))
    lab.prepare(topology)
    stack.prepare()
    asyncio.run(comparing.disown(inventory, seen.deviations))
    state = json.loads(stack.answer("stack", "export", "-s", stack.name))
    stack.replace_state(comparing.marked(state, seen.deviations))
    if not stack.is_lab() and not yes:
        stack.engine("preview", "-s", stack.name)
        # Whoever says no has the same preview next time: the state tells what is on the machines.
        typer.confirm("Make these changes?", abort=True)
    stack.up(quiet=quiet)


def _show(seen: Seen) -> None:
    for machine, found in groupby(seen.deviations, key=lambda one: one.machine):
        console.print(f"[bold]{machine}[/]", highlight=False)
        for one in found:
            console.print(f"  [yellow]{one.kind}[/] ", end="", highlight=False)
            console.print(one.told(), highlight=False, markup=False, soft_wrap=True)
            for line in one.difference.splitlines():
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
                console.print(f"    {line}", style=style, highlight=False, markup=False, soft_wrap=True)
    for machine, why in sorted(seen.unseen.items()):
        console.print(f"[red]{machine} cannot be seen[/]: ", end="", highlight=False)
        console.print(why, highlight=False, markup=False, soft_wrap=True)


def _end(name: str, seen: Seen, as_data: bool) -> None:
    """Show what was found, and end."""
    if as_data:
        tell(comparing.as_json(name, seen))
        raise typer.Exit(0 if seen.well else NOT_WELL)
    _show(seen)
    count = len(seen.deviations)
    told = f"{count} thing{'s' * (count != 1)} not as they should be" if count else "No drift"
    console.print(f"{told} on {seen.compared} machines that could be seen.", highlight=False)
    if count:
        console.print(f"vcubev drift {name} --repair puts them right.", highlight=False)
    raise typer.Exit(0 if seen.well else NOT_WELL)
