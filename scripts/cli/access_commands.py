"""`vcubev ssh`, `ssh-config` and `inventory`: into machines, by name."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from components.model.errors import StackErrors
from scripts.cli import ansible
from scripts.cli import ssh as access
from scripts.cli.inventory import Inventory
from scripts.cli.stack import Stack, stack_names
from scripts.cli.terminal import BAD_INPUT, FAILED, Json, OfStack, StackName, checked, console, errors, from_here, tell

OVERLAY = "overlay"
Directory = Annotated[
    Path | None,
    typer.Option("--directory", "-d", help="Of key, host keys and configuration; by default ~/.ssh/vcubev-STACK."),
]


def inventory_of(name: str) -> tuple[Stack, Inventory]:
    """Return a stack that is up, and its machines, or end."""
    stack = checked(name)
    if not stack.exists() or not (outputs := stack.outputs()):
        errors.print(f"Stack {name} is not up.")
        raise typer.Exit(FAILED)
    return stack, Inventory.of(outputs)


def ssh(
    host: Annotated[str, typer.Argument(help="A host, or a hub: web-1, oregon/a.", autocompletion=lambda: _members())],
    command: Annotated[list[str] | None, typer.Argument(help="After --; without, a shell.")] = None,
    via: Annotated[
        str | None,
        typer.Option(help="SITE/HUB: over the overlay through this hub. overlay: straight, from a member of it."),
    ] = None,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="A terminal for the command, too.")] = False,
    stack: OfStack = "lab",
) -> None:
    """Log in to a machine by name, or run a command there; its host key is the one that the stack's state pins.

    On the underlay where that answers, for private hosts through the hub beside them; else over the overlay through
    another hub. You are user vcubev there, who may sudo. One word of COMMAND is for the machine's shell; several
    arrive as they are.

    Exit codes: the command's; 1 the stack is not up; 2 no such host or hub; 255 no connection.
    """
    _, known = inventory_of(stack)
    member = access.find(known, stack, host)
    hub = access.find(known, stack, via) if via and via != OVERLAY else None
    if member is None or (via not in (None, OVERLAY) and (hub is None or hub.name not in known.hubs)):
        names = sorted([*known.hubs, *(known.hosts if member is None else ())])
        errors.print(f"There is no {host if member is None else f'hub {via}'}. There are: {', '.join(names)}.")
        raise typer.Exit(BAD_INPUT)
    try:
        if hub is not None:
            way = access.Way(member.ipv4, member.ssh.port, hub.name)
        elif via == OVERLAY:
            way = access.Way(member.ipv4, member.ssh.port)
        else:
            way = asyncio.run(access.open_way(known, member))
    except access.NotReached as problem:
        errors.print(str(problem), highlight=False)
        raise typer.Exit(access.NO_CONNECTION) from None
    raise typer.Exit(access.run(known, stack, member, way, command or [], tty))


def ssh_config(name: StackName = "lab", directory: Directory = None, as_data: Json = False) -> None:
    """Write key, host keys and a configuration for your own ssh, scp, rsync and Git; print the line that takes them in.

    Machines are called STACK-NAME: lab-web-1, lab-oregon-a. Write them again after machines were made anew.

    Exit codes: 0 written; 1 the stack is not up; 2 the directory has files of somebody else's.
    """
    _, known = inventory_of(name)
    where = _directory(name, directory)
    if (where / "config").exists() and not _ours(where):
        errors.print(f"{where / 'config'} was not written by this program. Choose another --directory.")
        raise typer.Exit(BAD_INPUT)
    config = access.write(known, name, where)
    if as_data:
        members = [*known.hubs, *known.hosts]
        tell({"config": str(config), "machines": {member: access.alias(name, member) for member in members}})
        return
    console.print(f'Include "{config}"', highlight=False, markup=False, soft_wrap=True)
    example = access.alias(name, next(iter(known.hosts), next(iter(known.hubs))))
    errors.print(f"Put that line at the top of ~/.ssh/config, then: ssh {example}", highlight=False)


def inventory(
    name: StackName = "lab",
    listed: Annotated[bool, typer.Option("--list", help="As a dynamic inventory answers, in JSON.")] = False,
    host: Annotated[str | None, typer.Option("--host", help="One machine's variables, in JSON.")] = None,
    directory: Directory = None,
    as_data: Annotated[bool, typer.Option("--json", help="The same as --list.")] = False,
) -> None:
    """Print an inventory for Ansible, YAML or JSON; it holds no secret, and points to what `ssh-config` has written.

    scripts/inventory is a dynamic inventory: VCUBEV_STACK=lab ansible -i scripts/inventory all -m ping.

    Exit codes: 0 printed; 1 the stack is not up; 2 `ssh-config` has written nothing yet, or no such machine.
    """
    _, known = inventory_of(name)
    where = _directory(name, directory)
    if not _ours(where):
        errors.print(f"Ansible needs login and host keys first: vcubev ssh-config {name}", highlight=False)
        raise typer.Exit(BAD_INPUT)
    # Machines may have come since.
    config = access.write(known, name, where)
    if host is not None:
        found = ansible.variables(known, name, config).get(host)
        if found is None:
            errors.print(f"There is no {host}.")
            raise typer.Exit(BAD_INPUT)
        tell(found)
    elif listed or as_data:
        tell(ansible.listed(known, name, config))
    else:
        YAML(typ="safe", pure=True).dump(ansible.written(known, name, config), sys.stdout)


def _directory(stack: str, given: Path | None) -> Path:
    return from_here(given or Path.home() / ".ssh" / f"vcubev-{stack}").absolute()


def _ours(directory: Path) -> bool:
    try:
        return (directory / "config").read_text().startswith(access.FIRST_LINE)
    except OSError:
        return False


def _members() -> list[str]:
    """Return the names in all stack files, for a shell's completion: it waits for no engine."""
    topologies = []
    for name in stack_names():
        with contextlib.suppress(StackErrors):
            topologies.append(Stack(name).topology())
    return sorted({m for t in topologies for m in (*(hub.key for hub in t.hubs), *(host.name for host in t.hosts))})
