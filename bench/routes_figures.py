"""Times routing between hubs: real BIRDs as the program configures them, each hub a network namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.daemons.routed import apart
from tests.lab.worktree import ROOT

# A round that hangs ends with all that it made: its namespaces live no longer than its first process.
LONGEST_SECONDS = 480
ROUNDS = "10:12,50:12"
console = Console(width=None if sys.stdout.isatty() else 110)


def one_round(hubs: int, full_up_to: int, hosts: int, tunnels: bool) -> dict[str, float]:
    command = apart("bench.routes_inside", *map(str, (hubs, full_up_to, hosts, int(tunnels))))
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=LONGEST_SECONDS, env=os.environ
        )
        if done.returncode:
            errors.seek(0)
            raise SystemExit(errors.read()[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def main(
    rounds: Annotated[str, typer.Option(help="HUBS:FULL_UP_TO, with commas; no core if it is not less.")] = ROUNDS,
    hosts: Annotated[int, typer.Option(help="Host routes, IPv4.")] = 10_000,
    tunnels: Annotated[bool, typer.Option(help="Links are real OpenVPN tunnels, not wires.")] = False,
) -> None:
    """Measure how long hubs take to agree: all host routes at once, 500 hosts that move within a second, and the death
    of a hub with 1000 hosts, each of which has its spare tunnel at another; and what a hub's BIRD takes.

    Links are virtual wires in the place of OpenVPN tunnels, unless --tunnels: BFD, BGP and the kernel's routes are
    real, encryption and the way between sites are not in the figures.
    """
    found = {pair: one_round(*map(int, pair.split(":")), hosts, tunnels) for pair in rounds.split(",")}
    title = f"{hosts} host routes, links: {'OpenVPN' if tunnels else 'wires'}, {os.cpu_count()} cores"
    names = {pair: "{} hubs, full up to {}".format(*pair.split(":")) for pair in found}
    table = Table("what", *names.values(), title=title)
    for what in next(iter(found.values())):
        table.add_row(what, *(f"{figures[what]:.4g}" for figures in found.values()))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
