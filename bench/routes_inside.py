"""One round of bench/routes, in namespaces of its own; prints its figures as JSON."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.generated import stack_values
from bench.tunnels import Tunnels
from components.model.addressing import MEMBER_IDS
from components.model.stackfile import load
from tests.daemons.routed import Hubs, inside_apart, name, run, until

FIRST_NUMBER, MOVED_NUMBER, DEAD_NUMBER = 4, 8, 12
MOVES, MOVE_STEPS = 500, 10
DEAD_HOSTS = 1000
QUIET_SECONDS = 5
LONGEST_SECONDS = 400


def address(host: int) -> str:
    role, member = divmod(host, len(MEMBER_IDS))
    return f"10.100.{role + 1}.{MEMBER_IDS[member]}/32"


class Round:
    """Hubs, their hosts' routes, and what it takes until all agree."""

    def __init__(self, hubs: Hubs, hosts: int) -> None:
        self.hubs, self.hosts = hubs, hosts
        self.ids = sorted(hubs.by_id)
        self.home = {host: self.ids[host % len(self.ids)] for host in range(hosts)}
        self.figures: dict[str, float | int] = {}

    def cpu(self) -> dict[int, float]:
        stats = {i: Path(f"/proc/{self.hubs.process(i)}/stat").read_text().rpartition(")")[2] for i in self.hubs.birds}
        return {i: sum(map(int, stat.split()[11:13])) / 100 for i, stat in stats.items()}

    def spent(self, what: str, before: dict[int, float]) -> None:
        spent = [now - before[i] for i, now in self.cpu().items()]
        self.figures[f"{what}: CPU s per hub, mean"] = sum(spent) / len(spent)
        self.figures[f"{what}: CPU s per hub, most"] = max(spent)

    def write(self, where: dict[int, Iterable[tuple[str, int]]]) -> None:
        """Write routes at many hubs at once."""
        with ThreadPoolExecutor(8) as several:
            list(several.map(lambda item: self.hubs.route(*item), where.items()))

    def agree(self, started: float, where: str, count: int) -> float:
        """Wait until so many of each hub's chosen routes are as `where` says; return the seconds since `started`."""
        waiting = set(self.hubs.birds)

        def all_agree() -> bool:
            for hub_id in tuple(waiting):
                if self.count(hub_id, where) == count:
                    waiting.discard(hub_id)
            return not waiting

        until(all_agree, f"{where}: {count}", LONGEST_SECONDS)
        return time.monotonic() - started

    def count(self, hub_id: int, where: str) -> int:
        answer = self.hubs.birds[hub_id].ask(f"show route table master4 primary where {where} count")
        return int(re.search(r"(\d+) of", answer)[1])

    def learn(self) -> None:
        before, started = self.cpu(), time.monotonic()
        routes: dict[int, list[tuple[str, int]]] = {}
        for host, hub_id in self.home.items():
            routes.setdefault(hub_id, []).append((address(host), FIRST_NUMBER))
        self.write(routes)
        self.figures["routes: written after s"] = time.monotonic() - started
        local_pref = f"bgp_local_pref = {100 + FIRST_NUMBER}"
        self.figures["routes: all agree after s"] = self.agree(started, local_pref, self.hosts)
        time.sleep(1)
        self.spent("routes", before)
        in_kernel = [run("ip", "netns", "exec", name(i), "ip", "route", "show", "proto", "bird") for i in self.ids[:3]]
        assert all(text.count("10.100.") >= self.hosts for text in in_kernel), "the kernel has what BIRD has"
        sizes = [int(Path(f"/proc/{self.hubs.process(i)}/statm").read_text().split()[1]) / 256 for i in self.ids]
        self.figures["BIRD: MB per hub, mean"] = sum(sizes) / len(sizes)
        self.figures["BIRD: MB per hub, most"] = max(sizes)
        paths = [
            int(re.search(r"(\d+) of (\d+) routes", self.hubs.birds[i].ask("show route count"))[2]) for i in self.ids
        ]
        self.figures["paths per hub, most"] = max(paths)

    def rest(self) -> None:
        before = self.cpu()
        time.sleep(QUIET_SECONDS)
        spent = [(now - before[i]) / QUIET_SECONDS for i, now in self.cpu().items()]
        self.figures["at rest: % of a CPU per hub, mean"] = 100 * sum(spent) / len(spent)
        self.figures["at rest: % of a CPU per hub, most"] = 100 * max(spent)

    def move(self) -> None:
        """Hosts move within a second, each to the next hub; the one that it left still believes in it."""
        before, started = self.cpu(), time.monotonic()
        for step in range(MOVE_STEPS):
            time.sleep(max(0, started + step / MOVE_STEPS - time.monotonic()))
            where: dict[int, list[tuple[str, int]]] = {}
            for host in range(step, MOVES, MOVE_STEPS):
                new = self.ids[(self.ids.index(self.home[host]) + 1) % len(self.ids)]
                self.home[host] = new
                where.setdefault(new, []).append((address(host), MOVED_NUMBER))
            self.write(where)
        last = time.monotonic()
        self.figures["moves: from the last to agreement s"] = self.agree(
            last, f"bgp_local_pref = {100 + MOVED_NUMBER}", MOVES
        )
        time.sleep(1)
        self.spent("moves", before)

    def die(self) -> None:
        """A hub dies that carries many; each of its hosts has its spare at another."""
        dead, others = self.ids[0], self.ids[1:]
        hosts = range(self.hosts, self.hosts + DEAD_HOSTS)
        spares: dict[int, list[tuple[str, int]]] = {}
        for host in hosts:
            spares.setdefault(others[host % len(others)], []).append((address(host), DEAD_NUMBER - 1))
        self.write({dead: [(address(host), DEAD_NUMBER) for host in hosts]})
        self.write(spares)
        self.agree(time.monotonic(), f"bgp_local_pref = {100 + DEAD_NUMBER}", DEAD_HOSTS)
        time.sleep(1)
        before = self.cpu()
        started = time.monotonic()
        self.hubs.die(dead)
        back = f"bgp_local_pref = {100 + DEAD_NUMBER - 1}"
        self.figures["death: all 1000 elsewhere at all hubs after s"] = self.agree(started, back, DEAD_HOSTS)
        time.sleep(1)
        del before[dead]
        self.spent("death", before)


def main() -> None:
    count, full_up_to, hosts, tunnels = (int(word) for word in sys.argv[1:5])
    values = {**stack_values(1, sites=count), "mesh": {"full_up_to": full_up_to}}
    topology = load(values, ("lab",))
    with tempfile.TemporaryDirectory() as directory:
        hubs = Hubs(topology, Path(directory))
        wires = Tunnels(Path(directory)) if tunnels else None
        started = time.monotonic()
        hubs.make(wires)
        if wires:
            wires.joined()
        hubs.join(LONGEST_SECONDS)
        one = Round(hubs, hosts)
        one.figures |= {"links": len(topology.links), "all sessions up after s": time.monotonic() - started}
        spent = wires.cpu_seconds() if wires else 0
        for part in (one.rest, one.learn, one.move, one.die):
            part()
        if wires:
            one.figures["OpenVPN: MB per process"] = wires.megabytes()
            one.figures["OpenVPN: CPU s of all processes, from the first route on"] = wires.cpu_seconds() - spent
    print(json.dumps(one.figures))


if __name__ == "__main__":
    assert inside_apart(), "run it by bench/routes"
    main()
