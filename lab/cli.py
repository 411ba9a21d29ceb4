"""`scripts/lab`: look at the lab's machines, break them, and clear up."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lab import containers, image, leftovers, machines
from lab.records import Machine, Stack, known_stacks, load
from lab.system import LabError, require

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
out = Console()

DEFAULT_PROJECT, DEFAULT_STACK = "vcubev", "lab"
StackOption = Annotated[
    str | None, typer.Option("--stack", help="Stack, or project.stack; by default the only one there is.")
]
NameArgument = Annotated[str, typer.Argument(help="Resource name such as lab-oregon-a, or an end of it such as web-1.")]


@app.command("list")
def list_machines(stack: StackOption = None) -> None:
    """Show all machines."""
    table = Table("stack", "machine", "address", "", "state", "faults", box=None)
    for known in [_stack(stack)] if stack else known_stacks():
        for name, machine in sorted(known.machines.items()):
            state = "running" if machines.is_running(known, machine) else "off"
            kind = "public" if machine.public else "private"
            table.add_row(known.name, name, str(machine.address), kind, state, _faults(machine))
    out.print(table)


@app.command("power-off")
def power_off(name: NameArgument, stack: StackOption = None) -> None:
    """Pull a machine's plug."""
    known = _stack(stack)
    machines.power_off(known.project, known.name, _machine(known, name))


@app.command()
def start(name: NameArgument, stack: StackOption = None) -> None:
    """Start a machine from its own disk."""
    known = _stack(stack)
    machines.start(known.project, known.name, _machine(known, name))


@app.command()
def terminate(name: NameArgument, stack: StackOption = None) -> None:
    """Lose a machine and its disk, as a cloud may."""
    known = _stack(stack)
    machines.terminate(known.project, known.name, _machine(known, name))


@app.command()
def cut(name: NameArgument, stack: StackOption = None) -> None:
    """Drop all of a machine's packets at its router; the machine sees its link up."""
    known = _stack(stack)
    machines.set_cut(known.project, known.name, _machine(known, name), True)


@app.command()
def restore(name: NameArgument, stack: StackOption = None) -> None:
    """Undo `cut`."""
    known = _stack(stack)
    machines.set_cut(known.project, known.name, _machine(known, name), False)


@app.command()
def drop(
    name: NameArgument,
    percent: Annotated[float, typer.Option(help="Share of packets, 0 to 100; 0 ends it.")],
    direction: Annotated[str, typer.Option(help="to, from or both, as the machine sees it.")] = "both",
    stack: StackOption = None,
) -> None:
    """Lose a share of a machine's packets at random."""
    known = _stack(stack)
    machines.set_loss(known.project, known.name, _machine(known, name), percent, direction)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(name: NameArgument, command: Annotated[list[str], typer.Argument()], stack: StackOption = None) -> None:
    """Run a command in a machine as root: lab exec NAME -- COMMAND ..."""
    known = _stack(stack)
    containers.enter(known.namespace(known.machines[_machine(known, name)]), command)


@app.command()
def console(name: NameArgument, stack: StackOption = None) -> None:
    """Print what a machine wrote to its console since it was made."""
    known = _stack(stack)
    log = containers.console(known, known.machines[_machine(known, name)])
    typer.echo(log.read_text(errors="replace"), nl=False)


@app.command("leftovers")
def list_leftovers(stack: StackOption = None) -> None:
    """List all that the lab has on this computer; exit code 1 if there is anything."""
    _report(leftovers.find(_stack(stack) if stack else None))


@app.command()
def sweep(
    stack: StackOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All stacks, those of other users of the lab too.")] = False,
) -> None:
    """Remove what a stack has on this computer, running or not; exit code 1 if something stays."""
    require()
    _report(leftovers.sweep(None if everything else _stack(stack)))


@app.command("image")
def build_image(name: str = "debian-12") -> None:
    """Build the machines' image if it is missing, and print where it is."""
    require()
    typer.echo(image.ensure(name))


def _report(found: list[leftovers.Leftover]) -> None:
    names = {stack.tag: f"{stack.project}.{stack.name}" for stack in known_stacks()}
    for item in found:
        typer.echo(f"{names.get(item.tag, item.tag)} {item.kind}: {item.what}")
    raise typer.Exit(1 if found else 0)


def _stack(wanted: str | None) -> Stack:
    known = known_stacks()
    if wanted is None:
        if len(known) == 1:
            return known[0]
        wanted = DEFAULT_STACK
    matching = [stack for stack in known if wanted in (stack.name, f"{stack.project}.{stack.name}")]
    if len(matching) > 1:
        choices = ", ".join(f"{stack.project}.{stack.name}" for stack in matching)
        raise LabError(f"--stack {wanted} fits several: {choices}. Give one of these.")
    project, dot, name = wanted.partition(".")
    # One without a record may still have left something.
    return matching[0] if matching else load(*(project, name) if dot else (DEFAULT_PROJECT, wanted))


def _machine(stack: Stack, wanted: str) -> str:
    if wanted in stack.machines:
        return wanted
    matching = sorted(name for name in stack.machines if name.endswith(f"-{wanted}"))
    if len(matching) == 1:
        return matching[0]
    choices = ", ".join(matching or sorted(stack.machines)) or "none"
    problem = "fits several machines" if matching else "is no machine"
    raise LabError(f"{wanted} {problem} of stack {stack.name}. Give one of: {choices}.")


def _faults(machine: Machine) -> str:
    loss = {"to": machine.loss_percent_to, "from": machine.loss_percent_from}
    faults = [f"{percent:g} % lost {direction} it" for direction, percent in loss.items() if percent]
    return ", ".join(["cut", *faults] if machine.cut else faults)


def main() -> None:
    """Run the command; an error of the lab's own is one line and exit code 1."""
    try:
        app()
    except LabError as error:
        Console(stderr=True).print(f"lab: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
