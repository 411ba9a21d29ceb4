"""`vcubev status`: how a stack is, once or for as long as somebody watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from typing import Annotated

import typer
from rich.live import Live

from scripts.cli.access_commands import inventory_of
from scripts.cli.gather import FOLLOWING, Gatherer
from scripts.cli.screen import screen
from scripts.cli.snapshot import Snapshot
from scripts.cli.terminal import BAD_INPUT, NOT_WELL, Json, StackName, console, errors, tell
from scripts.cli.watching import changes

WATCH_SECONDS = 2.0
LEAST_SECONDS = 0.5
KEPT_CHANGES = 8


def status(
    name: StackName = "lab",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay, draw anew and tell changes; Ctrl-C ends.")
    ] = False,
    seconds: Annotated[float, typer.Option("--every", min=LEAST_SECONDS, help="Between two looks.")] = WATCH_SECONDS,
    between_hosts: Annotated[
        bool,
        typer.Option(
            "--between-hosts", help="Hosts ping each other as well, IPv4 and IPv6; not where policy.ping is false."
        ),
    ] = False,
    as_data: Json = False,
) -> None:
    """Show hosts, hubs, links, round trips, certificates and drops as the machines tell them. Changes nothing.

    It ends within some seconds whatever is down, and says what it could not see. With --json the form is that of
    docs/status.schema.json; --watch --json prints a line for each look.

    Exit codes: 0 all is well; 1 it is not up; 2 mistakes in the stack file; 3 something is not well.
    """
    if watch and between_hosts:
        errors.print("--between-hosts measures once: it does not go with --watch.")
        raise typer.Exit(BAD_INPUT)
    stack, inventory = inventory_of(name)
    topology = stack.topology()

    async def once() -> Snapshot:
        async with Gatherer(name, inventory, topology) as gatherer:
            return await gatherer.once(between_hosts)

    async def follow() -> Snapshot:
        async with Gatherer(name, inventory, topology, FOLLOWING) as gatherer:
            return await _follow(gatherer, seconds, as_data)

    snapshot = asyncio.run(follow() if watch else once())
    if not watch and as_data:
        tell(snapshot.as_json())
    elif not watch:
        console.print(screen(snapshot, console.width))
    if not snapshot.well:
        raise typer.Exit(NOT_WELL)


async def _follow(gatherer: Gatherer, seconds: float, as_data: bool) -> Snapshot:
    """Show what is seen until the user has seen enough; return the last of it."""
    last = await gatherer.once()
    told: deque[str] = deque(maxlen=KEPT_CHANGES)
    following = asyncio.create_task(gatherer.follow(seconds))
    frame = Live(console=console, auto_refresh=False, screen=console.is_terminal, vertical_overflow="ellipsis")
    try:
        with contextlib.nullcontext() if as_data else frame:
            while not following.done():
                if as_data:
                    print(json.dumps(last.as_json()), flush=True)
                else:
                    frame.update(screen(last, console.width, list(told)), refresh=True)
                await asyncio.sleep(seconds)
                now = gatherer.snapshot()
                told.extendleft(changes(last, now))
                last = now
        await following  # it ends by a mistake of ours only
    except asyncio.CancelledError:
        # Ctrl-C: asyncio cancels what runs, and what was seen last is the answer.
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    if not as_data:
        console.print(screen(last, console.width, list(told)))
    return last
