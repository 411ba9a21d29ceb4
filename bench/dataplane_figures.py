"""Measures what packets cost on each way from host to host: ours, plain OpenVPN's, nebula's and wireguard-go's."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench import documents, loads
from bench.loads import Load, Way
from bench.rivals import machines, tunnels
from bench.rivals.building import version
from bench.sweeping import swept
from lab import containers
from lab.records import load
from tests.lab.worktree import ROOT, WorkTree

PROJECT, STACK = machines.PROJECT, "bench-data"
DOCUMENT = ROOT / "docs" / "dataplane.md"
PLAIN, DIRECT_PLAIN = "OpenVPN defaults, host-hub-host", "OpenVPN defaults, direct"
OURS = "ours, "
DIRECT_HOSTS = ("web-4", "web-5")
DIRECT_TRIES, DIRECT_SECONDS = 4, 10
console = Console(width=None if sys.stdout.isatty() else 140)


def sites(config: dict) -> None:
    """Two hosts and a private one at a site, and one at another; and at each a host that may do without hubs."""
    oregon, paris = (config["vcubev:sites"][site]["hosts"] for site in ("oregon", "paris"))
    oregon["web-3"] = {"role": "web", "id": 3}
    del paris["db-2"]
    config["vcubev:direct"] = True
    for number, hosts in zip((4, 5), (oregon, paris), strict=True):
        hosts[f"web-{number}"] = {"role": "web", "id": number}


def own_ways(tree: WorkTree) -> list[Way]:
    """Return the ways of this project's stack."""
    stack, outputs = load(PROJECT, STACK), tree.outputs()
    at = lambda name: stack.namespace(stack.machines[f"{STACK}-{name}"])  # noqa: E731

    def way(name: str, client: str, server: str, *hubs: str) -> Way:
        carriers = tuple(map(at, (client, server, *hubs)))
        return Way(f"{OURS}{name}", at(client), at(server), outputs["hosts"][server]["ipv4"], "openvpn", carriers)

    return [
        way("one site", "web-1", "web-3", "oregon-a"),
        way("across two hubs", "web-1", "web-2", "oregon-a", "paris-a"),
        way("to a private host", "web-1", "db-1", "oregon-a"),
        way("direct", *DIRECT_HOSTS),
    ]


def keep_by_hubs(tree: WorkTree) -> None:
    """Have all hosts but two do without direct tunnels, and without what counts who is worth one."""
    for host in ("web-1", "web-2", "web-3", "db-1"):
        tree.lab("exec", host, "--", "systemctl", "stop", "vcubev-direct")


def go_direct(way: Way) -> None:
    """Send until the two hosts have a tunnel."""
    for _ in range(DIRECT_TRIES):
        loads.tcp(way, DIRECT_SECONDS)
        if all(_by_tunnel(namespace) for namespace in (way.client, way.server)):
            return
    raise RuntimeError("no direct tunnel came")


def _by_tunnel(namespace: str) -> bool:
    return "dev direct" in loads.told(namespace, "ip", "route", "show")


def how(way: Way) -> str:
    """Return how what a host of ours sends would go now: "8800 B by oregon/a, back by oregon/a"."""
    if not way.name.startswith(OURS):
        return ""
    (route,) = json.loads(loads.told(way.client, "ip", "-j", "route", "get", way.address))
    size = next((metric["mtu"] for metric in route.get("metrics", ()) if "mtu" in metric), "?")
    if route["dev"].startswith("direct"):
        return f"{size} B with no hub"
    there, back = map(_hub, (way.client, way.server))
    return f"{size} B by {there}" + ("" if back == there else f", back by {back}")


def _hub(namespace: str) -> str:
    state = json.loads(Path(f"/proc/{containers.leader(namespace)}/root/run/vcubev-paths/state.json").read_text())
    return state["paths"][str(state["active"])]["hub"]


@dataclass
class Found:
    """All that was measured on one way, a value for each round."""

    tcp: list[Load] = field(default_factory=list)
    udp: list[Load] = field(default_factory=list)
    small: list[Load] = field(default_factory=list)
    went: list[str] = field(default_factory=list)  # by which hubs each TCP stream went, and in packets of which size
    median_ms: list[float] = field(default_factory=list)
    last_ms: list[float] = field(default_factory=list)


def measure(ways: Sequence[Way], rounds: int, seconds: int) -> dict[str, Found]:
    """Take each figure of all ways in turn, round by round, in another order each time: first what lets others live."""
    found = {way.name: Found() for way in ways}

    def note_round_trips(way: Way) -> None:
        trips = loads.round_trips(way, seconds)
        found[way.name].median_ms.append(statistics.median(trips))
        found[way.name].last_ms.append(loads.quantile(trips, 0.99))

    def take_tcp(way: Way) -> None:
        before = how(way)
        found[way.name].tcp.append(loads.tcp(way, seconds))
        after = how(way)
        found[way.name].went.append(before if before == after else f"{before}, then {after}")

    quiet: dict[str, Callable[[Way], None]] = {"round trips": note_round_trips, "TCP": take_tcp}
    floods: dict[str, Callable[[Way], None]] = {
        "UDP": lambda way: found[way.name].udp.append(loads.udp(way, seconds)),
        "small packets": lambda way: found[way.name].small.append(loads.udp(way, seconds, loads.SMALL_BYTES)),
    }
    # Floods come last: they fill a hub's queue to all its hosts, which leave it for a while, and streams with them.
    for takes, number in itertools.product((quiet, floods), range(rounds)):
        first = number % len(ways)
        for name, take in takes.items():
            console.print(f"round {number + 1} of {rounds}: {name}")
            for way in (*ways[first:], *ways[:first]):
                take(way)
    return found


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median, and lowest and highest where there are several."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


HEADS = (
    "way",
    "TCP Mbit/s",
    f"UDP Mbit/s, {loads.UDP_BYTES} B",
    f"thousand packets/s, {loads.SMALL_BYTES} B",
    "daemons' CPU s/GB",
    "computer's CPU s/GB",
    "round trip ms",
    "99th ms",
)


def rows(found: dict[str, Found]) -> list[list[str]]:
    return [
        [
            name,
            spread([one.megabits_a_second for one in own.tcp]),
            spread([one.megabits_a_second for one in own.udp]),
            spread([one.packets_a_second / 1000 for one in own.small], 1),
            spread([one.daemons_seconds_a_gigabyte for one in own.tcp], 1),
            spread([one.computer_seconds_a_gigabyte for one in own.tcp], 1),
            spread(own.median_ms, 2),
            spread(own.last_ms, 2),
        ]
        for name, own in found.items()
    ]


def ratios(found: dict[str, Found]) -> list[list[str]]:
    """Return what of ours is told in times of a rival's, each round by itself."""

    def times(own: str, other: str, of: Callable[[Load], float]) -> str:
        return spread([of(a) / of(b) for a, b in zip(found[own].tcp, found[other].tcp, strict=True)], 2)

    speed, cost = (lambda one: one.megabits_a_second), (lambda one: one.daemons_seconds_a_gigabyte)
    compared = [(own, PLAIN) for own in found if own.startswith(OURS)]
    compared += [(own, DIRECT_PLAIN) for own in found if own.endswith("direct") and own != DIRECT_PLAIN]
    return [[f"{own} : {other}", times(own, other, speed), times(own, other, cost)] for own, other in compared]


def ways_taken(found: dict[str, Found]) -> list[list[str]]:
    """Return of ours how each round's TCP stream went, and how fast."""
    rounds = {name: zip(own.went, own.tcp, strict=True) for name, own in found.items() if any(own.went)}
    return [
        [name, str(number), went, f"{one.megabits_a_second:.0f}", f"{one.daemons_seconds_a_gigabyte:.1f}"]
        for name, both in rounds.items()
        for number, (went, one) in enumerate(both, 1)
    ]


TAKEN_HEADS = ("way", "round", "how", "TCP Mbit/s", "daemons' CPU s/GB")
RATIO_HEADS = ("ratio", "TCP", "daemons' CPU per GB")


def show(title: str, heads: Sequence[str], body: list[list[str]]) -> None:
    shown = Table(*heads, title=title)
    for row in body:
        shown.add_row(*row)
    console.print(shown)


def setting() -> str:
    """Return on what it was measured."""
    return (
        f"{documents.computer()}, nebula {version('nebula')}, "
        f"wireguard-go {version('wireguard-go')}; all ends and hubs are lab machines on this one computer."
    )


def main(
    rounds: Annotated[int, typer.Option(help="How often each figure is taken of each way.")] = 5,
    seconds: Annotated[int, typer.Option(help="For each figure.")] = 5,
    only: Annotated[str, typer.Option(help="Ways with this in their names, and those that they are compared to.")] = "",
    into_docs: Annotated[bool, typer.Option("--write", help="Put the tables into docs/dataplane.md.")] = False,
    as_data: Annotated[bool, typer.Option("--json", help="Print the figures as JSON as well.")] = False,
) -> None:
    """Measure TCP, UDP, small packets, CPU and round trips on every way from host to host, in turns.

    Ours is a lab stack of its own; rivals are at rest beside it, in plain lab machines at one site. Daemons' CPU is
    that of the processes that carry the traffic, on all machines that it passes; the computer's is everything, iperf3
    too.
    """
    with tempfile.TemporaryDirectory(prefix="vcubev-bench-") as directory:
        tree = WorkTree(Path(directory), STACK)
        tree.edit(sites)
        with swept(directory, f"{PROJECT}.{STACK}", f"{PROJECT}.{machines.STACK}"):
            machines.make()
            ways = tunnels.all_ways()
            done = tree.up()
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            keep_by_hubs(tree)
            ways += own_ways(tree)
            (direct,) = (way for way in ways if way.name == f"{OURS}direct")
            go_direct(direct)
            chosen = [way for way in ways if only in way.name or way.name in (PLAIN, DIRECT_PLAIN)]
            found = measure(chosen, rounds, seconds)
            if not all(_by_tunnel(namespace) for namespace in (direct.client, direct.server)):
                raise SystemExit("The direct tunnel ended meanwhile: its figures are not its own.")
            tree.script("down", STACK)
    show("Host to host, TCP and its cost, UDP, round trips: median (lowest-highest)", HEADS, rows(found))
    show("In times of plain OpenVPN", RATIO_HEADS, ratios(found))
    show("How ours went", TAKEN_HEADS, ways_taken(found))
    if as_data:
        print(json.dumps({name: asdict(own) for name, own in found.items()}))
    if into_docs:
        parts = (HEADS, rows(found)), (RATIO_HEADS, ratios(found)), (TAKEN_HEADS, ways_taken(found))
        tables = [documents.table(heads, body) for heads, body in parts]
        text = "\n\n".join([setting(), *tables])
        command = f"bench/dataplane --rounds {rounds} --seconds {seconds} --write"
        documents.write(DOCUMENT, "bench/dataplane", "The data plane", command, text)


if __name__ == "__main__":
    typer.run(main)
