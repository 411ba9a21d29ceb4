"""`vcubev up`: all of a stack, or some hosts of it, made what the stack file says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from components.clouds import known_clouds
from scripts.cli import lab
from scripts.cli.cost import difference, planned, running, show_cost, show_difference
from scripts.cli.credentials import check as check_credentials
from scripts.cli.inventory import Inventory
from scripts.cli.policy_commands import keeps_its_tests
from scripts.cli.prices import load_tables
from scripts.cli.reach import look
from scripts.cli.show import as_json, show
from scripts.cli.stack import Stack, why_not_alone
from scripts.cli.terminal import BAD_INPUT, NOT_WELL, Json, StackName, Yes, checked, console, errors, tell

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="HOST", help="This host alone, in seconds also of a thousand. May be repeated."),
]


def up(name: StackName = "lab", only: Only = None, yes: Yes = False, as_data: Json = False) -> None:
    """Make a stack what its file says, then show its hosts and who reaches whom.

    With --only all else stays as it is, whatever the file says of it; shown are those hosts, and one of each site.

    At clouds that charge for it, first looks whether they let you in, shows what will change and the monthly price,
    and asks. With --json there is nobody to ask: such clouds need --yes.

    Exit codes: 0 all is well; 1 the engine failed, or a cloud lets you not in; 2 the stack file has mistakes; 3 made,
    but something is not reached.
    """
    started = time.monotonic()
    stack, only = checked(name), only or []
    keeps_its_tests(stack)
    _can_be_alone(stack, only)
    if as_data:
        console.quiet = True
        if not (yes or stack.is_lab()):
            errors.print("With --json there is nobody to ask: add --yes.")
            raise typer.Exit(BAD_INPUT)
    _tell_stand_ins(stack)
    if not stack.is_lab():
        check_credentials(stack.topology(), known_clouds(), lambda line: console.print(line, highlight=False))
    lab.prepare(stack.topology())
    stack.prepare()
    if not stack.is_lab() and not yes:
        stack.engine("preview", "-s", name, *stack.targets(only))
        _show_price(stack)
        if only:
            console.print("The prices are of all that the file says, not of these hosts alone.")
        typer.confirm("Make these changes?", abort=True)
        started = time.monotonic()
    stack.up(as_data, only)
    changes = stack.last_changes()
    told = ", ".join(f"{count} {change}" for change, count in sorted(changes.items()))
    console.print(f"[bold]{f'Changed: {told}' if told else 'Nothing changed.'}[/] ({time.monotonic() - started:.0f} s)")
    _look(stack, only, {"changes": changes, "seconds": round(time.monotonic() - started, 1)} if as_data else None)


def _can_be_alone(stack: Stack, hosts: Sequence[str]) -> None:
    """End where hosts cannot be made by themselves."""
    if not hosts:
        return
    topology = stack.topology()
    declared = sorted(host.name for host in topology.hosts)
    if unknown := [host for host in hosts if host not in declared]:
        errors.print(f"--only: the stack file has no host {', '.join(unknown)}. Hosts: {', '.join(declared)}.")
        raise typer.Exit(BAD_INPUT)
    if not stack.exists():
        errors.print(f"--only: stack {stack.name} is not up, so there are no hubs for a host. Leave --only out once.")
        raise typer.Exit(BAD_INPUT)
    if reason := why_not_alone(topology, hosts, stack.outputs()):
        errors.print(f"--only {', '.join(hosts)}: {reason}. Or leave --only out.", highlight=False)
        raise typer.Exit(BAD_INPUT)


def _show_price(stack: Stack) -> None:
    tables = load_tables()
    plan = planned(stack.topology(), known_clouds(), tables)
    show_difference(console, difference(running(stack.exported(), tables), plan), tables)
    show_cost(console, plan, tables, f"Stack {stack.name} then, USD a month")


def _look(stack: Stack, only: Sequence[str], data: dict | None = None) -> None:
    """Look at a stack from inside, or at some of its hosts, and show it; or with `data`, print what was found as JSON
    beside that."""
    whole = Inventory.of(stack.outputs())
    inventory = whole.around(only) if only else whole
    findings = asyncio.run(look(inventory))
    if data is None:
        show(console, inventory, findings)
    else:
        tell({"stack": stack.name, **data, **as_json(inventory, findings)})
    if not findings.all_well(inventory):
        errors.print("[red]Not all is well, see above.[/]")
        raise typer.Exit(NOT_WELL)


def _tell_stand_ins(stack: Stack) -> None:
    if there := os.environ.get("VCUBEV_STANDINS", "").split():
        asked = {"tls", "command", *(site.cloud for site in stack.topology().sites)}
        used = " and ".join(name for name in there if name in asked)
        console.print(
            f"[yellow]Stand-ins are in use for the provider plugins {used}[/]: the official ones "
            "cannot be downloaded here (README, What is emulated where)."
        )
