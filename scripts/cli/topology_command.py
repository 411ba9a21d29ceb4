"""`vcubev topology`: the network as a picture."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts.cli.access_commands import inventory_of
from scripts.cli.drawing import NoGraphviz, dot, image, mermaid
from scripts.cli.gather import Gatherer
from scripts.cli.picture import Seen, drawn, seen
from scripts.cli.stack import Stack
from scripts.cli.terminal import BAD_INPUT, FAILED, Json, StackName, checked, console, errors, from_here, tell

SUFFIXES = {".svg": "svg", ".png": "png", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".md": "mermaid"}


class Form(StrEnum):
    """What a picture can be."""

    mermaid = "mermaid"
    svg = "svg"
    png = "png"
    dot = "dot"


def topology(
    name: StackName = "lab",
    live: Annotated[bool, typer.Option("--live", help="As it runs: states, and round trips in colour.")] = False,
    form: Annotated[Form | None, typer.Option("--format", "-f", help="By default as FILE ends, else mermaid.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else it is printed.")] = None,
    hosts: Annotated[bool, typer.Option("--hosts/--no-hosts", help="Hubs and links only.")] = True,
    as_data: Json = False,
) -> None:
    """Draw sites, hubs, links and hosts, from the stack file alone or with --live as they are. Changes nothing.

    Exit codes: 0 drawn; 1 the stack is not up, or there is no graphviz; 2 mistakes in the stack file or the options.
    """
    wanted = form or (SUFFIXES.get(output.suffix) if output else Form.mermaid)
    if wanted is None:
        errors.print(f"{output} says nothing of its format: end it in {', '.join(SUFFIXES)}, or give --format.")
        raise typer.Exit(BAD_INPUT)
    if output is None and wanted == Form.png and sys.stdout.isatty() and not as_data:
        errors.print("A PNG is nothing for a terminal: give --output FILE.")
        raise typer.Exit(BAD_INPUT)
    stack = checked(name)
    picture = drawn(name, stack.topology(), asyncio.run(_seen(stack)) if live else None, hosts)
    if as_data:
        tell(picture.as_json())
        return
    try:
        data = {Form.mermaid: lambda: mermaid(picture).encode(), Form.dot: lambda: dot(picture).encode()}.get(
            wanted, lambda: image(picture, wanted)
        )()
    except NoGraphviz as problem:
        errors.print(str(problem), highlight=False)
        raise typer.Exit(FAILED) from None
    file = from_here(output) if output else None
    if file is None:
        sys.stdout.buffer.write(data)
    elif file.suffix == ".md":
        file.write_bytes(b"```mermaid\n" + data + b"```\n")
    else:
        file.write_bytes(data)
    if file is not None:
        console.print(f"Written: {output}", highlight=False)


async def _seen(stack: Stack) -> Seen:
    async with Gatherer(stack.name, inventory_of(stack.name)[1], stack.topology()) as gatherer:
        return seen(await gatherer.once())
