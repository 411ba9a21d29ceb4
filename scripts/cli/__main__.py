"""What the commands in scripts/ do, once everything that they need is set up."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from components.model.errors import StackErrors
from lab.system import LabError
from scripts.cli import lab, policy
from scripts.cli.drain import HubUnreachable
from scripts.cli.drain import drain as drained
from scripts.cli.inventory import Inventory
from scripts.cli.reach import look
from scripts.cli.show import show
from scripts.cli.stack import EngineFailed, Stack, stack_names

BAD_INPUT, FAILED, NOT_WELL = 2, 1, 3

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)
# Into a file or a pipe, tables keep their width.
console = Console(width=None if sys.stdout.isatty() else 110)
errors = Console(stderr=True)

StackName = Annotated[str, typer.Argument(help="A stack: the NAME of stacks/Pulumi.NAME.yaml.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a lab stack never does.")]


@app.command()
def up(name: StackName = "lab", yes: Yes = False) -> None:
    """Make a stack what its file says, then show its hosts and who reaches whom.

    Exit codes: 0 all is well; 1 the engine failed; 2 the stack file has mistakes; 3 made, but something is not reached.
    """
    started = time.monotonic()
    stack = _checked(name)
    _keeps_its_tests(stack)
    _tell_stand_ins()
    if stack.is_lab():
        lab.prepare(stack.topology())
    stack.prepare()
    # What the outputs say is in the tables below.
    stack.engine("up", "-s", name, "--suppress-outputs", *_unasked(stack, yes))
    changes = stack.last_changes()
    told = ", ".join(f"{count} {change}" for change, count in sorted(changes.items()))
    console.print(f"[bold]{f'Changed: {told}' if told else 'Nothing changed.'}[/] ({time.monotonic() - started:.0f} s)")
    _look(stack)


@app.command()
def status(name: StackName = "lab") -> None:
    """Show a stack's hosts and who reaches whom. Changes nothing."""
    stack = _checked(name)
    if not stack.exists():
        console.print(f"Stack {name} is not up.")
        raise typer.Exit(FAILED)
    _look(stack)


@app.command()
def down(name: StackName = "lab", yes: Yes = False) -> None:
    """Take a stack away, whole, and prove for a lab stack that nothing is left."""
    stack = _checked(name)
    if stack.exists():
        stack.prepare()
        stack.engine("destroy", "-s", name, "--suppress-outputs", *_unasked(stack, yes))
        stack.forget()
    else:
        console.print(f"Stack {name} is not up.")
    if stack.is_lab() and not lab.nothing_left(console, name):
        raise typer.Exit(FAILED)


@app.command()
def drain(
    hub: Annotated[str, typer.Argument(help="SITE/HUB, for example oregon/a.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let hosts come back, in their own time.")] = False,
    name: Annotated[str, typer.Option("--stack", "-s", help="The stack that the hub is of.")] = "lab",
) -> None:
    """Move all hosts off a hub with no packet lost; it stays so, past a restart too, until --undo.

    Exit codes: 0 done; 1 the hub cannot be reached; 2 no such hub; 3 hosts stayed, having no other hub.
    """
    stack = _checked(name)
    inventory = Inventory.of(stack.outputs()) if stack.exists() else None
    if inventory is None or hub not in inventory.hubs:
        known = f"Hubs: {', '.join(sorted(inventory.hubs))}." if inventory else f"Stack {name} is not up."
        errors.print(f"There is no hub {hub}. {known}")
        raise typer.Exit(BAD_INPUT)
    if not asyncio.run(drained(inventory, hub, undo, lambda line: console.print(line, highlight=False))):
        errors.print("The hub is not fit yet." if undo else "Hosts stayed: they reach no other hub that is fit.")
        raise typer.Exit(NOT_WELL)
    console.print(f"{hub} is fit: hosts come back in their own time." if undo else f"{hub} is drained.")


policies = typer.Typer(no_args_is_help=True, help="Ask what a stack's policy says. Changes nothing.")
app.add_typer(policies, name="policy")
PolicyStack = Annotated[str, typer.Option("--stack", "-s", help="The stack that is meant.")]


@policies.command("explain")
def policy_explain(
    source: Annotated[str, typer.Argument(help="A host, SITE/HUB or an overlay address.")],
    target: Annotated[str, typer.Argument(help="Likewise.")],
    port: Annotated[str, typer.Argument(help="389/tcp, 53/udp or icmp.")],
    name: PolicyStack = "lab",
) -> None:
    """Say whether a first packet arrives, and by which rule. Exit codes: 0 it does; 3 it is dropped; 2 bad input."""
    verdict = policy.explain(_checked(name).topology(), source, target, port)
    word = "[green]allowed[/]" if verdict.allowed else "[red]dropped[/]"
    console.print(f"{source} to {target}, {port}: {word}: {verdict.reason}", highlight=False)
    raise typer.Exit(0 if verdict.allowed else NOT_WELL)


@policies.command("test")
def policy_test(name: PolicyStack = "lab") -> None:
    """Run the assertions under vcubev:tests. Exit codes: 0 all hold; 3 one does not."""
    results = policy.check(_checked(name).topology())
    for result in results:
        mark = "[green]ok[/]" if result.kept else "[red]FAILED[/]"
        expected = "allowed" if result.expected else "dropped"
        console.print(f"{mark} {result.place}: {result.told}: {expected} ({result.verdict.reason})", highlight=False)
    failed = sum(not result.kept for result in results)
    console.print(f"{len(results) - failed} passed, {failed} failed")
    raise typer.Exit(NOT_WELL if failed else 0)


@app.command(hidden=True)
def env(name: StackName = "lab") -> None:
    """Print the line that plain `pulumi` needs to find a stack's state; scripts/env calls it."""
    settings = _checked(name).settings()
    if settings:
        print("export " + " ".join(f"{key}={value}" for key, value in settings.items()))


def _checked(name: str) -> Stack:
    """Return a stack whose file holds no mistake, or end."""
    if name not in stack_names():
        errors.print(f"There is no stacks/Pulumi.{name}.yaml. Stacks: {', '.join(stack_names())}.")
        raise typer.Exit(BAD_INPUT)
    stack = Stack(name)
    stack.topology()
    return stack


def _keeps_its_tests(stack: Stack) -> None:
    """End where the stack file's own assertions about its policy do not hold."""
    broken = [result for result in policy.check(stack.topology()) if not result.kept]
    for result in broken:
        expected = "allowed" if result.expected else "dropped"
        errors.print(f"vcubev:{result.place}: {result.told} should be {expected}: {result.verdict.reason}")
    if broken:
        errors.print("The policy does not keep the stack file's own tests; nothing was changed.")
        raise typer.Exit(BAD_INPUT)


def _unasked(stack: Stack, yes: bool) -> list[str]:
    return ["--yes", "--skip-preview"] if yes or stack.is_lab() else []


def _look(stack: Stack) -> None:
    inventory = Inventory.of(stack.outputs())
    findings = asyncio.run(look(inventory))
    show(console, inventory, findings)
    if not findings.all_well(inventory):
        errors.print("[red]Not all is well, see above.[/]")
        raise typer.Exit(NOT_WELL)


def _tell_stand_ins() -> None:
    if used := os.environ.get("VCUBEV_STANDINS"):
        console.print(
            f"[yellow]Stand-ins are in use for the provider plugins {used.replace(' ', ' and ')}[/]: the official ones "
            "cannot be downloaded here (README, What is emulated where)."
        )


def main() -> int:
    """Run a command; its failures as one clear text."""
    try:
        app()
    except StackErrors as mistakes:
        errors.print(str(mistakes), highlight=False, markup=False, soft_wrap=True)
        return BAD_INPUT
    except (EngineFailed, HubUnreachable, LabError) as failure:
        errors.print(str(failure), highlight=False, markup=False, soft_wrap=True)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
