"""`scripts/rotate`: new keys for old, while traffic goes on."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from components.clouds import known_clouds
from scripts.cli import lab, rotate
from scripts.cli.credentials import check as check_credentials
from scripts.cli.inventory import Inventory
from scripts.cli.policy_commands import keeps_its_tests
from scripts.cli.rotate import Subject
from scripts.cli.stack import Stack
from scripts.cli.terminal import BAD_INPUT, NOT_WELL, OfStack, Yes, checked, console, errors

rotations = typer.Typer(
    no_args_is_help=True,
    help="Give a key a successor, while traffic goes on: some `up`s, one after the other. The stack file says how far "
    "it has come: if it was broken off, run it again.",
)


@rotations.command("ca")
def rotate_ca(name: OfStack = "lab", yes: Yes = False) -> None:
    """The authority and with it all certificates. Three steps: a new one beside it, its certificates, the old one away.

    The channel's secret (tls-crypt-v2) stays as it is: it hides the hubs from strangers and lets nobody in.

    Exit codes: 0 done; 1 the engine failed; 2 bad input; 3 the network did not become well after a step.
    """
    _rotate(checked(name), rotate.AUTHORITY, yes)


@rotations.command("ssh")
def rotate_ssh(name: OfStack = "lab", yes: Yes = False) -> None:
    """The operator's login key on all machines. Three steps: a new one beside it, its use, the old one away.

    Exit codes: 0 done; 1 the engine failed; 2 bad input; 3 the network did not become well after a step.
    """
    _rotate(checked(name), rotate.LOGIN, yes)


@rotations.command("host")
def rotate_host(
    host: Annotated[str, typer.Argument(help="A host of the stack.")], name: OfStack = "lab", yes: Yes = False
) -> None:
    """A host's key and certificate. Two steps: new ones for the host, then all hubs refuse the old certificate.

    Exit codes: 0 done; 1 the engine failed; 2 bad input; 3 the network did not become well after a step.
    """
    stack = checked(name)
    known = {member.name for member in stack.topology().hosts}
    _rotate(_with(stack, host, known, "host"), rotate.host(host), yes)


@rotations.command("hub")
def rotate_hub(
    hub: Annotated[str, typer.Argument(help="SITE/HUB, for example oregon/a.")],
    name: OfStack = "lab",
    yes: Yes = False,
) -> None:
    """A hub's key and certificate. Two steps: new ones for it, hosts leave it for that; the others refuse the old.

    Exit codes: 0 done; 1 the engine failed; 2 bad input; 3 the network did not become well after a step.
    """
    stack = checked(name)
    known = {member.key for member in stack.topology().hubs}
    _rotate(_with(stack, hub, known, "hub"), rotate.hub(hub), yes)


def _with(stack: Stack, name: str, known: set[str], kind: str) -> Stack:
    if name not in known:
        errors.print(f"There is no {kind} {name}. There are: {', '.join(sorted(known))}.")
        raise typer.Exit(BAD_INPUT)
    return stack


def _rotate(stack: Stack, subject: Subject, yes: bool) -> None:
    outputs = stack.outputs() if stack.exists() else {}
    if not outputs.get("hubs"):
        errors.print(f"Stack {stack.name} is not up.")
        raise typer.Exit(BAD_INPUT)
    topology = stack.topology()
    if subject.output in topology.revoked:
        errors.print(
            f"{subject.place[-1]} is in vcubev:revoked, and so would be its new certificate. Take it out first."
        )
        raise typer.Exit(BAD_INPUT)
    applied = outputs.get("keys")
    before = tuple(map(int, applied.get(subject.output, (1,)))) if applied else None
    planned = list(rotate.steps(subject, subject.of(topology.keys), before))
    console.print(f"Rotating {subject.told}, {len(planned)} steps:", highlight=False)
    for number, step in enumerate(planned, 1):
        console.print(f"  {number}. {rotate.meaning(subject, step)}", highlight=False)
    if not stack.is_lab():
        check_credentials(topology, known_clouds(), lambda line: console.print(line, highlight=False))
        if not yes:
            typer.confirm(f"Do it, each step an `up` of stack {stack.name}?", abort=True)
    _settle(Inventory.of(outputs))
    for number, step in enumerate(planned, 1):
        console.rule(f"step {number} of {len(planned)}: {rotate.meaning(subject, step)}")
        rotate.write(stack.file, subject, step)
        _up(stack)
        _settle(Inventory.of(stack.outputs()))
    console.print(f"[green]Done[/]: {subject.told}: {rotate.meaning(subject, planned[-1])}.", highlight=False)


def _up(stack: Stack) -> None:
    keeps_its_tests(stack)
    lab.prepare(stack.topology())
    stack.prepare()
    stack.up()


def _settle(inventory: Inventory) -> None:
    """Go on only when all is well: a step takes from a machine what only the one before it has made up for."""
    try:
        asyncio.run(rotate.settle(inventory, lambda line: console.print(line, highlight=False)))
    except rotate.NotSettled as problem:
        errors.print(f"Not all is well, and nothing more is changed: {problem}", highlight=False, markup=False)
        errors.print("See scripts/status. When it is well, run this again: it goes on from here.")
        raise typer.Exit(NOT_WELL) from None
