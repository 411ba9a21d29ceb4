"""What a fault did to the traffic, in figures."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.lab.faults.watch import NOT_ENDED, TICK_SECONDS

BOUND_MS = 1000  # issue 4: under 1 s at the worst
HIT_MS = 100  # five datagrams missing
TICK_MS = TICK_SECONDS * 1000
Report = Mapping[str, Any]  # what watch.py prints


@dataclass(frozen=True)
class Pair:
    """Datagrams from one host to another."""

    sender: str
    receiver: str
    family: str = "ipv4"

    def __str__(self) -> str:
        return f"{self.sender} > {self.receiver}{' (IPv6)' if self.family == 'ipv6' else ''}"


@dataclass(frozen=True)
class Stream:
    """A TCP connection over which records go one way."""

    client: str
    server: str
    sender: str  # one of the two
    family: str = "ipv4"

    def __str__(self) -> str:
        return f"TCP {self.client} {'>' if self.sender == self.client else '<'} {self.server}"


@dataclass(frozen=True)
class Verdict:
    """How a stream ended."""

    problem: str  # "" if all records arrived, in order, with no reset
    stall_ms: float
    open: bool = False  # not broken either: TCP had not yet caught up when the watch ended


@dataclass
class Outcome:
    """One fault. Pairs and streams of hosts that the fault itself kills are not in it."""

    fault: str
    outage_ms: dict[Pair, float] = field(default_factory=dict)  # longest hole less the 20 ms between datagrams
    hole_at: dict[Pair, float] = field(default_factory=dict)  # when it began, in seconds after the fault
    lost: dict[Pair, int] = field(default_factory=dict)
    streams: dict[Stream, Verdict] = field(default_factory=dict)
    switches: dict[str, int | None] = field(default_factory=dict)  # of each host's paths; None: it does not tell
    silent: list[str] = field(default_factory=list)  # hosts that gave no report
    late_ms: float = 0  # the longest that a sender was behind: no fault of the network
    cpu_percent: float = 0  # of one core, all watchers together

    @property
    def worst_ms(self) -> float:
        return max(self.outage_ms.values(), default=0)

    @property
    def hit(self) -> list[Pair]:
        """Pairs that noticed: a busy computer may hold packets up for as long, but loses none."""
        return [
            pair for pair, ms in self.outage_ms.items() if ms > HIT_MS and self.lost.get(pair, 0) * TICK_MS >= HIT_MS
        ]

    @property
    def median_ms(self) -> float:
        """Of the pairs that noticed."""
        return statistics.median([self.outage_ms[pair] for pair in self.hit] or [0])

    @property
    def lost_packets(self) -> int:
        return sum(self.lost.values())

    def __str__(self) -> str:
        survived = sum(not verdict.problem for verdict in self.streams.values())
        stall = max((verdict.stall_ms for verdict in self.streams.values()), default=0)
        switched = sum(number or 0 for number in self.switches.values())
        late = f", senders up to {self.late_ms:.0f} ms late" if self.late_ms > HIT_MS else ""
        return (
            f"{self.fault}: {len(self.hit)} of {len(self.outage_ms)} pairs hit, median {self.median_ms:.0f} ms, "
            f"worst {self.worst_ms:.0f} ms, {self.lost_packets} packets lost, "
            f"TCP {survived} of {len(self.streams)} well (stall {stall:.0f} ms), {switched} path changes{late}"
        )

    def without(self, pairs: Collection[Pair]) -> Outcome:
        """Return the outcome for all others; streams stay."""
        return replace(self, outage_ms={pair: ms for pair, ms in self.outage_ms.items() if pair not in pairs})

    def check(self, bound_ms: float = BOUND_MS, may_lag: bool = False) -> Outcome:
        """Hold the outcome to what is promised: short outages, and connections that survive.

        Args:
            may_lag: The fault lasted to the end of the watch: a connection that is still open will do.
        """
        assert not self.silent, f"{self}: no report from {', '.join(self.silent)}"
        long = {str(pair): (ms, self.hole_at[pair]) for pair, ms in self.outage_ms.items() if ms >= bound_ms}
        assert not long, f"{self}; too long (ms, seconds after the fault): {long}"
        bad = {stream: one for stream, one in self.streams.items() if one.problem and not (may_lag and one.open)}
        broken = {str(stream): one.problem for stream, one in bad.items()}
        assert not broken, f"{self}; broken: {broken}"
        return self

    def keep(self) -> float:
        """Append the outcome to the record of all runs; return the worst outage that this fault ever had, in ms."""
        file = figures_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        before = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        worst = max([self.worst_ms, *(line["worst_ms"] for line in before if line["fault"] == self.fault)])
        line = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "fault": self.fault,
            "pairs": len(self.outage_ms),
            "hit": len(self.hit),
            "median_ms": round(self.median_ms, 1),
            "worst_ms": round(self.worst_ms, 1),
            "worst_ever_ms": round(worst, 1),
            "lost": self.lost_packets,
            "tcp": {str(stream): verdict.problem or "ok" for stream, verdict in self.streams.items()},
            "tcp_stall_ms": max((verdict.stall_ms for verdict in self.streams.values()), default=0),
            "switches": self.switches,
            "late_ms": self.late_ms,
        }
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")
        return worst


def figures_file() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vcubev" / "figures" / "faults.jsonl"


def weigh(
    fault: str,
    reports: Mapping[str, Report | None],
    streams: Mapping[int, Stream],
    moment: float,
    dead: Collection[str] = (),
    apart: Collection[Collection[str]] = (),
) -> Outcome:
    """Put the reports of all watchers together.

    Args:
        reports: Each watched host's, None from one that did not answer. Peers are named "HOST" or "HOST ipv6".
        streams: By the number that the watchers know.
        moment: When the fault was made, by the monotonic clock.
        dead: Hosts that the fault itself kills.
        apart: Groups of hosts that it parts from each other for a while; their streams must survive that.
    """
    outcome = Outcome(fault)
    alive = {host: report for host, report in reports.items() if report is not None and host not in dead}
    outcome.silent = sorted(host for host, report in reports.items() if report is None and host not in dead)
    for host, report in alive.items():
        for peer, seen in report["peers"].items():
            sender, _, family = peer.partition(" ")
            if sender in alive and not any((sender in group) != (host in group) for group in apart):
                pair = Pair(sender, host, family or "ipv4")
                outcome.outage_ms[pair] = max(0.0, seen["gap_ms"] - TICK_MS)
                outcome.hole_at[pair] = round(seen["gap_at"] - moment, 3)
                outcome.lost[pair] = seen["lost"]
    for number, stream in streams.items():
        if stream.client in alive and stream.server in alive:
            ends = [alive[host]["streams"][str(number)] for host in (stream.client, stream.server)]
            outcome.streams[stream] = _verdict(*sorted(ends, key=lambda end: end["sends"]))
    outcome.late_ms = max((report["late_ms"] for report in alive.values()), default=0)
    return outcome


def _verdict(receiver: Report, sender: Report) -> Verdict:
    ends = {"sender": sender, "receiver": receiver}
    problems = [f"{side}: {end['error']}" for side, end in ends.items() if end["error"]]
    if receiver["records"] != sender["records"]:
        problems.append(f"{receiver['records']} of {sender['records']} records arrived")
    still_open = all(end["error"] in ("", NOT_ENDED) for end in ends.values())
    return Verdict(", ".join(problems), receiver["stall_ms"], still_open)
