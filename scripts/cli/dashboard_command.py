"""`vcubev dashboard`: the running network as a page in the browser."""

from __future__ import annotations

import asyncio
import contextlib
import webbrowser
from typing import Annotated

import typer

from components.clouds import known_clouds
from scripts.cli.access_commands import inventory_of
from scripts.cli.cost import planned
from scripts.cli.dashboard.board import Board
from scripts.cli.dashboard.server import LOOPBACK, Server
from scripts.cli.prices import load_tables
from scripts.cli.terminal import FAILED, StackName, console, errors

PORT = 8055


def dashboard(
    name: StackName = "lab",
    port: Annotated[int, typer.Option(min=0, max=65535, help="On this computer only; 0: any that is free.")] = PORT,
    browse: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show the network as it runs: map, round trips, hosts, events, policy, cost. Changes nothing.

    The page is served to this computer alone, at an address that only you are told; it ends with Ctrl-C. From
    another computer: ssh -L 8055:127.0.0.1:8055.

    Exit codes: 0 ended by you; 1 the stack is not up, or the port is taken; 2 mistakes in the stack file.
    """
    stack, inventory = inventory_of(name)
    topology = stack.topology()
    board = Board(name, topology, tuple(planned(topology, known_clouds(), load_tables())))
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(Server(board, inventory), port, browse))
        except OSError as problem:
            errors.print(f"Port {port} of {LOOPBACK} cannot be had: {problem.strerror}. Choose another with --port.")
            raise typer.Exit(FAILED) from None


async def _serve(server: Server, port: int, browse: bool) -> None:
    async with server.serving(port) as address:
        console.print(f"The dashboard of stack {server.board.stack}: {address}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C ends it.")
        if browse:
            webbrowser.open(address)
        await asyncio.Event().wait()
