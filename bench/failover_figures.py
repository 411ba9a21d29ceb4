"""Times faults under running traffic on a mesh of its own, and writes the table of docs/failover.md."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench import documents, one_tunnel
from tests.lab.faults.watching import WATCHED
from tests.lab.faults.world import World, lab3
from tests.lab.worktree import ROOT

STACK = "bench-failover"
DOCUMENT = ROOT / "docs" / "failover.md"
HOSTS_UNITS = ("vcubev-hosts@udp.service", "vcubev-hosts@tcp.service")
TWO_SECONDS, ONE_SECONDS = 3, 15  # of traffic after the fault
console = Console(width=None if sys.stdout.isatty() else 110)


@dataclass(frozen=True)
class Fault:
    """One kind; what it does is chosen anew each time, for where the traffic is by then."""

    name: str
    two: Callable[[World], object]  # to hosts with two tunnels
    one: Callable[[World], object] | None = None  # to hosts with one, where that is something else


def busiest(world: World) -> str:
    return world.carriers()[0]


def cut_path(world: World) -> None:
    hub = busiest(world)
    host = next(host for host in WATCHED if world.carrier(host) == hub)
    world.lab("cut", host, "--from", hub)


def cut_link(world: World) -> None:
    one, other = world.busiest_link()
    world.lab("cut", one, "--from", other)


def drain(world: World) -> None:
    # The hub's own part of scripts/drain, which is over when hosts have left.
    world.run(busiest(world), "/usr/local/lib/vcubev/drain on")


def stop(world: World) -> None:
    # Hosts with one tunnel do not know of draining: their hub tells them as it stops.
    world.run(busiest(world), f"systemctl stop {' '.join(HOSTS_UNITS)}")


FAULTS = (
    Fault("hub: power off", lambda world: world.lab("power-off", busiest(world))),
    Fault("hub: OpenVPN killed", lambda world: world.kill(busiest(world), *HOSTS_UNITS)),
    Fault("hub: BIRD killed", lambda world: world.kill(busiest(world), "bird.service")),
    Fault("hub: black hole", lambda world: world.lab("cut", busiest(world))),
    Fault("path of a host to its hub: cut", cut_path),
    Fault("link between two hubs: cut", cut_link),
    Fault("hub: drained (one tunnel: stopped)", drain, stop),
)


def trial(world: World, fault: Fault, single: bool) -> tuple[float, int]:
    """Return the longest outage of all pairs in ms, and how many packets were lost."""
    inject = (fault.one or fault.two) if single else fault.two
    seconds = ONE_SECONDS if single else TWO_SECONDS
    done = world.measure(fault.name, lambda: inject(world), after=seconds, streams=(), keep=False)
    return done.worst_ms, done.lost_packets


def recover(world: World, single: bool) -> None:
    world.undo()
    if single:
        again = f"systemctl start {' '.join(HOSTS_UNITS)} && echo started"
        for hub in world.hubs:  # one of them may be booting
            world.until(lambda: "started" not in world.run(hub, again, check=False), 30, f"{hub} has not started")  # noqa: B023
        one_tunnel.settle(world, WATCHED)
    else:
        world.settle()


def measured(world: World, faults: list[Fault], trials: int, single: bool) -> dict[str, list[tuple[float, int]]]:
    found: dict[str, list[tuple[float, int]]] = {}
    for fault in faults:
        for number in range(1, trials + 1):
            recover(world, single)
            found.setdefault(fault.name, []).append(trial(world, fault, single))
            worst, lost = found[fault.name][-1]
            tunnels = "one tunnel" if single else "two tunnels"
            console.print(f"{tunnels}, {fault.name}, {number} of {trials}: {worst:.0f} ms, {lost} packets lost")
    recover(world, single)
    return found


HEADINGS = ("fault", "trials", "min", "median", "max", "lost", "trials ", "min ", "median ", "max ")
DOCUMENT_HEADINGS = ("fault", "two: trials", "min ms", "median ms", "max ms", "packets lost")
DOCUMENT_HEADINGS += ("one: trials", "min ms", "median ms", "max ms")


def rows(two: dict[str, list[tuple[float, int]]], one: dict[str, list[tuple[float, int]]]) -> list[list[str]]:
    """Return the table's rows: with two tunnels, then with one. Times in ms, `lost` is the median of packets lost."""

    def span(values: list[tuple[float, int]]) -> list[str]:
        times = [time for time, _ in values]
        if not times:
            return ["-"] * 4
        return [str(len(times)), *(f"{of(times):.0f}" for of in (min, statistics.median, max))]

    def lost(values: list[tuple[float, int]]) -> str:
        return f"{statistics.median(number for _, number in values):.0f}" if values else "-"

    return [[name, *span(two[name]), lost(two[name]), *span(one.get(name, []))] for name in two]


def main(
    trials: Annotated[int, typer.Option(help="For each fault, with two tunnels per host.")] = 20,
    single_trials: Annotated[int, typer.Option(help="With one tunnel per host; 0: none.")] = 5,
    only: Annotated[str, typer.Option(help="Faults with this in their names.")] = "",
    into_docs: Annotated[bool, typer.Option("--write", help="Put the table into docs/failover.md.")] = False,
) -> None:
    """Measure how long traffic is away after each fault: the longest outage of any pair of hosts in each trial.

    Five hosts send to each other every 20 ms, both ways. With two tunnels per host, as the project has it; and with
    one, where OpenVPN's ping-restart finds the next hub.
    """
    faults = [fault for fault in FAULTS if only in fault.name]
    with tempfile.TemporaryDirectory(prefix="vcubev-bench-") as directory:
        tree = lab3(Path(directory), STACK)
        tree.lab("sweep")
        try:
            done = tree.up()
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            world = World(tree)
            two = measured(world, faults, trials, single=False)
            one: dict[str, list[tuple[float, int]]] = {}
            if single_trials:
                one_tunnel.begin(world, WATCHED)
                one = measured(world, faults, single_trials, single=True)
        finally:
            tree.clean()
    table = Table(*HEADINGS, title="Outage in ms: two tunnels per host, then one")
    for row in rows(two, one):
        table.add_row(*row)
    console.print(table)
    if into_docs:
        command = f"bench/failover --trials {trials} --single-trials {single_trials} --write"
        text = documents.table(DOCUMENT_HEADINGS, rows(two, one))
        documents.write(DOCUMENT, "bench/failover", "Fail-over", command, text)


if __name__ == "__main__":
    typer.run(main)
