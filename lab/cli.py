"""`scripts/lab`: look at the lab's machines, break them, and clear up."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lab import containers, faults, image, leftovers, machines
from lab.records import Machine, Stack, known_stacks, load
from lab.system import LabError, require

HELP = "Look at the lab's machines, break them, and clear up."
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
out = Console()

DEFAULT_PROJECT, DEFAULT_STACK = "vcubev", "lab"
StackOption = Annotated[
    str | None,
    typer.Option("--stack", help="Stack, or project.stack; by default VCUBEV_STACK, or the only one there is."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
NameArgument = Annotated[str, typer.Argument(help="Resource name such as lab-oregon-a, or an end of it such as web-1.")]


@app.command("list")
def list_machines(stack: StackOption = None, as_data: Json = False) -> None:
    """Show all machines."""
    if as_data:
        typer.echo(json.dumps([_described(known, name) for known in _some(stack) for name in sorted(known.machines)]))
        return
    table = Table("stack", "machine", "public", "private", "state", "faults", box=None)
    for known in _some(stack):
        for name, machine in sorted(known.machines.items()):
            state = "running" if machines.is_running(known, machine) else "off"
            public = str(machine.address) if machine.public else ""
            table.add_row(known.name, name, public, _private(machine), state, "; ".join(faults.describe(machine)))
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
def cut(
    name: NameArgument,
    others: Annotated[
        list[str] | None,
        typer.Option("--from", help="Another machine: only packets between the two are dropped. May be repeated."),
    ] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="With --from: only what NAME sends.")] = False,
    stack: StackOption = None,
) -> None:
    """Drop all of a machine's packets at its router; the machine sees its link up.

    With --from, only the packets between it and another machine: the more pairs, the more of a partition. A machine
    that is made anew under the other's name is cut as well. Of two private machines at different sites neither knows
    the other's own address: NAME is then cut from all private machines of the other's site.
    """
    known = _stack(stack)
    machine = _machine(known, name)
    if one_way and not others:
        raise LabError("--one-way is for a pair: give --from OTHER as well, or see `lab drop --direction`.")
    for other in [_machine(known, wanted) for wanted in others or []]:
        faults.set_cut_from(known.project, known.name, machine, other, one_way=one_way)
    if not others:
        faults.set_cut(known.project, known.name, machine, True)


@app.command()
def restore(
    name: NameArgument,
    others: Annotated[
        list[str] | None, typer.Option("--from", help="Undo only NAME's `cut --from` this one. May be repeated.")
    ] = None,
    stack: StackOption = None,
) -> None:
    """Undo all faults of a machine: `cut`, `drop`, `block` and `mtu`, as `lab list` shows them."""
    known = _stack(stack)
    machine = _machine(known, name)
    cut_from = sorted(known.machines[machine].cut_from)
    for other in [_choose(cut_from, wanted, f"machine that {machine} is cut from") for wanted in others or []]:
        faults.set_cut_from(known.project, known.name, machine, other, cut=False)
    if not others:
        faults.restore(known.project, known.name, machine)


@app.command()
def drop(
    name: NameArgument,
    percent: Annotated[float, typer.Option(help="Share of packets, 0 to 100; 0 ends it.")],
    direction: Annotated[str, typer.Option(help="to, from or both, as the machine sees it.")] = "both",
    stack: StackOption = None,
) -> None:
    """Lose a share of a machine's packets at random."""
    known = _stack(stack)
    faults.set_loss(known.project, known.name, _machine(known, name), percent, direction)


@app.command()
def block(
    name: NameArgument,
    protocol: Annotated[str, typer.Argument(help="udp, or tcp, with which SSH goes as well.")],
    stack: StackOption = None,
) -> None:
    """Drop all of a machine's packets of one protocol, those of open connections too."""
    known = _stack(stack)
    faults.set_blocked(known.project, known.name, _machine(known, name), protocol)


@app.command()
def mtu(
    name: NameArgument,
    mtu_bytes: Annotated[int, typer.Argument(metavar="BYTES", help="576 to 9001; 9001 ends it.")],
    silent: Annotated[bool, typer.Option("--silent", help="The router sends no ICMP: a black hole.")] = False,
    stack: StackOption = None,
) -> None:
    """Narrow a machine's access link, as PPPoE does.

    Its eth0 takes no larger packet; one that comes for it is fragmented or, with DF, refused by ICMP. Senders remember
    that for ten minutes, after `restore` too: `ip route flush cache` there.
    """
    known = _stack(stack)
    faults.set_mtu(known.project, known.name, _machine(known, name), mtu_bytes, silent)


@app.command()
def rebind(name: NameArgument, stack: StackOption = None) -> None:
    """Lose a private machine's NAT mappings, as a home router that starts anew.

    From then on the machine is seen under other ports, and what comes to the old ones is dropped. Over at once:
    nothing to undo.
    """
    known = _stack(stack)
    faults.rebind(known.project, known.name, _machine(known, name))


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
def list_leftovers(stack: StackOption = None, as_data: Json = False) -> None:
    """List all that the lab has on this computer; exit code 1 if there is anything."""
    found = leftovers.find(_stack(stack) if stack else None)
    if as_data:
        typer.echo(json.dumps([vars(item) for item in found]))
        raise typer.Exit(1 if found else 0)
    _report(found)


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


def _some(stack: str | None) -> list[Stack]:
    return [_stack(stack)] if stack else known_stacks()


def _described(known: Stack, name: str) -> dict[str, object]:
    machine = known.machines[name]
    return {
        "stack": known.name,
        "machine": name,
        "address": str(machine.address),
        "private_address": _private(machine),
        "public": machine.public,
        "running": machines.is_running(known, machine),
        "faults": list(faults.describe(machine)),
    }


def _private(machine: Machine) -> str:
    return str(machine.private_address or ("" if machine.public else machine.address))


def _report(found: list[leftovers.Leftover]) -> None:
    names = {stack.tag: f"{stack.project}.{stack.name}" for stack in known_stacks()}
    for item in found:
        typer.echo(f"{names.get(item.tag, item.tag)} {item.kind}: {item.what}")
    raise typer.Exit(1 if found else 0)


def _stack(wanted: str | None) -> Stack:
    known = known_stacks()
    wanted = wanted or os.environ.get("VCUBEV_STACK")
    if not wanted:
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
    others = ", ".join(known.name for known in known_stacks() if known.machines)
    if others and not stack.machines:
        raise LabError(f"stack {stack.name} has no machine here. Give --stack: {others}.")
    return _choose(sorted(stack.machines), wanted, f"machine of stack {stack.name}")


def _choose(names: list[str], wanted: str, kind: str) -> str:
    if wanted in names:
        return wanted
    matching = [name for name in names if name.endswith(f"-{wanted}")]
    if len(matching) == 1:
        return matching[0]
    problem = f"fits more than one {kind}" if matching else f"is no {kind}"
    raise LabError(f"{wanted} {problem}. Give one of: {', '.join(matching or names) or 'none'}.")


def main() -> None:
    """Run the command; an error of the lab's own is one line and exit code 1."""
    try:
        app(prog_name="vcubev lab")
    except LabError as error:
        Console(stderr=True).print(f"lab: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
