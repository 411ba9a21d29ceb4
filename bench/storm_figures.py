"""Measures a hub to which many hosts come at once, and what it carries at rest."""

from __future__ import annotations

import json
import subprocess
import tempfile
from typing import Annotated

import typer

from bench import documents
from bench.dataplane_figures import ROOT, console, show, spread
from tests.agents.loading import load
from tests.daemons.routed import apart

DOCUMENT = ROOT / "docs" / "scale.md"
# A round that hangs ends with all that it made.
LONGEST_SECONDS = 330
PARTS = ("quiet", "once", "rest", "claims", "leave", "spread")
PATIENCE_SECONDS = load("choice").CONNECT_SECONDS
WAYS = {"once": "all at once", "spread": f"over {PATIENCE_SECONDS} s"}

WITH_BENCH = ("setpriv", "--pdeathsig", "KILL")

Figures = dict[str, dict[str, float]]  # part -> what -> value


def one_round(hosts: int, seconds: int, probing: int, parts: str = ",".join(PARTS)) -> Figures:
    # Killed, this takes the round along.
    command = [*WITH_BENCH, *apart("bench.storm_inside", str(hosts), str(seconds), str(probing), parts)]
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=LONGEST_SECONDS
        )
        if done.returncode:
            errors.seek(0)
            raise SystemExit(errors.read()[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


STORM_HEADS = (
    "hosts come", "all in s", "hosts a second", "slowest s", "OpenVPN ms a host", "hooks ms a host", "kB a host",
    "another host: worst gap ms", "lost", "hub's core", "hosts' core",
)  # fmt: skip
CLAIM_HEADS = (
    "hosts",
    "all have their traffic after s",
    "worst gap ms",
    "gone: forgotten after s",
    "worst gap then ms",
)
REST_HEADS = ("hosts", "silent, ms of CPU a second", "probing, ms more", "fill one core, calculated")


def storm_rows(found: dict[int, list[Figures]]) -> list[list[str]]:
    """Return a row for each crowd and way of coming."""
    return [_storm_row(hosts, way, rounds) for hosts, rounds in found.items() for way in WAYS]


def _storm_row(hosts: int, way: str, rounds: list[Figures]) -> list[str]:
    def of(what: str) -> list[float]:
        return [one[way][what] for one in rounds]

    return [
        f"{hosts} {WAYS[way]}",
        spread(of("in_seconds"), 1),
        spread([hosts / seconds for seconds in of("in_seconds")]),
        spread(of("slowest_seconds"), 2),
        spread(of("udp_ms"), 1),
        spread(of("hooks_ms"), 1),
        # What has been asked of the system once stays: only those who come first show it.
        spread([(one[way]["megabytes"] - one["quiet"]["megabytes"]) * 1024 / hosts for one in rounds]),
        spread(of("gap_ms")),
        spread(of("lost")),
        spread(of("hub_core"), 2),
        spread(of("crowd_core"), 2),
    ]


CLAIM_COLUMNS = (
    ("claims", "all_seconds", 2),
    ("claims", "gap_ms", 0),
    ("leave", "forgotten_seconds", 1),
    ("leave", "gap_ms", 0),
)


def claim_rows(found: dict[int, list[Figures]]) -> list[list[str]]:
    return [
        [str(hosts), *(spread([one[part][what] for one in rounds], places) for part, what, places in CLAIM_COLUMNS)]
        for hosts, rounds in found.items()
    ]


def rest_rows(found: dict[int, list[Figures]]) -> list[list[str]]:
    return [
        [
            str(hosts),
            spread([one["rest"]["silent_ms"] for one in rounds], 2),
            spread([one["rest"]["probing_ms"] for one in rounds], 2),
            spread([1000 / (one["rest"]["silent_ms"] + one["rest"]["probing_ms"]) for one in rounds]),
        ]
        for hosts, rounds in found.items()
    ]


def setting(probing: int) -> str:
    return (
        f"{documents.computer()}; a hub's daemons on one core, all "
        "hosts on the other. *Another host* is one that was there before and pings the hub each 20 ms. *Probing*: ten "
        f"pings a second, as hosts do; {probing} of the hosts did."
    )


def main(
    hosts: Annotated[list[int], typer.Option(min=1, help="How many come; may be given several times.")] = (
        50,
        100,
        200,
    ),  # type: ignore[assignment]
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turns.")] = 1,
    seconds: Annotated[int, typer.Option(min=1, help="For each measurement at rest.")] = 10,
    probing: Annotated[int, typer.Option(min=1, help="How many hosts probe, at rest.")] = 100,
    into_docs: Annotated[bool, typer.Option("--write", help="Put the tables into docs/scale.md.")] = False,
    as_data: Annotated[bool, typer.Option("--json", help="Print the figures as JSON as well.")] = False,
) -> None:
    """Let many hosts come to one hub: all at once, and spread as a dead hub's spares are; then claim their traffic at
    once, probe, and vanish at once.

    The hub's files, hooks, agents, BIRD and packet filter are those that the program makes; hosts are real OpenVPN
    clients, of which each holds some 6 MB. All is in namespaces of its own, which end with the bench.
    """
    found: dict[int, list[Figures]] = {count: [] for count in hosts}
    for number in range(rounds):
        for count in hosts:
            console.print(f"round {number + 1} of {rounds}: {count} hosts")
            found[count].append(one_round(count, seconds, probing))
    tables = [
        ("Hosts come", STORM_HEADS, storm_rows(found)),
        ("All claim their traffic at once; all vanish at once", CLAIM_HEADS, claim_rows(found)),
        ("OpenVPN of the hub, for one host at rest", REST_HEADS, rest_rows(found)),
    ]
    for title, heads, rows in tables:
        show(title, heads, rows)
    if as_data:
        print(json.dumps(found))
    if into_docs:
        crowds = " ".join(f"--hosts {count}" for count in hosts)
        command = f"bench/storm {crowds} --rounds {rounds} --seconds {seconds} --probing {probing} --write"
        text = [setting(probing), *(documents.table(heads, rows) for _, heads, rows in tables)]
        documents.write(DOCUMENT, "bench/storm", "Scale", command, "\n\n".join(text))


if __name__ == "__main__":
    typer.run(main)
