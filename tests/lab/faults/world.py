"""A mesh of real machines to break: looks at it and measures it from outside the network that is under test."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

from lab import cli, containers, machines
from lab.records import Faults, Machine, Stack, load
from lab.system import run
from tests.lab.faults import outcome, routes
from tests.lab.faults.outcome import Outcome, Stream
from tests.lab.faults.watching import STREAMS, WATCHED, Watching
from tests.lab.worktree import ROOT, WorkTree

PROJECT = "vcubev"
HOST_STATE, HUB_STATE = Path("run/vcubev-paths/state.json"), Path("run/vcubev-hub/state.json")
# Firewalls are up on hosts and hubs during every fault; they let through what is measured.
PORTS = "7007/udp, 7007/tcp, 7008/tcp, 7009/tcp"
POLICY = "".join(f"    {role}: {{on: {role}, ports: [{PORTS}], from: [any]}}\n" for role in ("web", "db", "ldap"))
# Programs for a machine's Python: one that takes connections and ends them, one that makes one.
SERVE = "import socket; s = socket.create_server(('{address}', {port}))\nwhile True: s.accept()[0].close()"
CONNECT = "import socket; socket.create_connection(('{address}', {port}), 1)"
STATE_SECONDS = 0.6  # agents write what they know that often
SETTLE_SECONDS = 60  # a hub that failed is avoided for up to 22 s, and so is the next
# A hub that failed again and again is trusted with traffic after five minutes (MOST_SETTLED_SECONDS of the hosts'
# agent); its spare tunnel has to be there first.
HOME_SECONDS = 360


def lab3(directory: Path, stack: str) -> WorkTree:
    """Return a work tree whose stack is a copy of the larger lab: three sites, four hubs, eight hosts, and a policy."""
    tree = WorkTree(directory, stack)
    written = (ROOT / "stacks" / "Pulumi.lab3.yaml").read_text()
    # Of somebody's own lab3.
    tree.file.write_text(
        re.sub(r"^encryptionsalt:.*\n", "", written, flags=re.MULTILINE) + f"  vcubev:services:\n{POLICY}"
    )
    return tree


class World:
    """All machines of a stack that is up. Hubs are named "site/hub", hosts by their name."""

    def __init__(self, tree: WorkTree) -> None:
        self.tree = tree
        self.told: list[str] = []  # figures, for the end of the run
        self.read_outputs()

    def read_outputs(self) -> None:
        """Learn which machines there are and their addresses."""
        outputs = self.tree.outputs()
        self.hubs: dict[str, dict[str, Any]] = outputs["hubs"]
        self.hosts: dict[str, dict[str, Any]] = outputs["hosts"]

    # One machine.

    def _find(self, name: str) -> tuple[Stack, Machine]:
        stack = load(PROJECT, self.tree.stack)
        return stack, machines.named(stack, f"{stack.name}-{name.replace('/', '-')}")

    def namespace(self, name: str) -> str:
        stack, machine = self._find(name)
        return stack.namespace(machine)

    def runs(self, name: str) -> bool:
        return containers.leader(self.namespace(name)) is not None

    def start(self, name: str, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in a machine as root, one of its own processes; like Popen."""
        namespace = self.namespace(name)
        assert containers.leader(namespace), f"{name} does not run"

        def become() -> None:
            containers.enter(namespace, list(command))

        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(["nsenter"], preexec_fn=become, text=True, **{**pipes, **options})

    def run(self, name: str, script: str, check: bool = True) -> str:
        """Run a shell script in a machine; return what it printed."""
        process = self.start(name, "sh", "-c", script)
        printed, problem = process.communicate(timeout=60)
        assert not check or process.returncode == 0, f"{name}: {script}: exit code {process.returncode}: {problem}"
        return printed

    def kill(self, name: str, *units: str) -> None:
        """End the main processes of units as a crash would."""
        self.run(name, f"systemctl kill --kill-whom=main --signal=KILL {' '.join(units)}")

    def lab(self, *arguments: str) -> None:
        """Do what `scripts/lab` does, but in this process: another Python takes half a second of what is measured."""
        command, *rest = [argument.replace("/", "-") for argument in arguments]
        cli.app([command, "--stack", f"{PROJECT}.{self.tree.stack}", *rest], standalone_mode=False)

    def _told(self, name: str, file: Path) -> dict[str, Any] | None:
        leader = containers.leader(self.namespace(name))
        try:
            return json.loads(Path(f"/proc/{leader}/root", file).read_text())
        except (OSError, ValueError):
            return None

    def state(self, host: str) -> dict[str, Any] | None:
        """Return what a host's agent says of its paths; None where there is none."""
        return self._told(host, HOST_STATE)

    def hub_state(self, hub: str) -> dict[str, Any] | None:
        """Return what a hub's agent says; None where there is none."""
        return self._told(hub, HUB_STATE)

    def switches(self) -> dict[str, int | None]:
        states = {host: self.state(host) for host in self.hosts}
        return {host: state and state["switches"] for host, state in states.items()}

    def hubs_of(self, host: str) -> tuple[str, str]:
        """Return the hubs that a host's two tunnels go to, the one that carries its traffic first."""
        state = self.state(host)
        active = str(state["active"])
        return state["paths"][active]["hub"], state["paths"]["2" if active == "1" else "1"]["hub"]

    def carrier(self, host: str) -> str | None:
        """Return the hub that gives a host its traffic, as hubs have it in their routes."""
        address = self.hosts[host]["ipv4"]
        by_tunnel = (h for h in self.hubs if self.tables(h).main.get(address, "").startswith("hosts-"))
        return next(by_tunnel, None)

    def carriers(self, hosts: Iterable[str] = WATCHED) -> list[str]:
        """Return the hubs that carry traffic of these hosts, the one with most of them first."""
        return [hub for hub, _ in Counter(self.carrier(host) for host in hosts).most_common() if hub]

    def busiest_link(self, hosts: Collection[str] = WATCHED) -> tuple[str, str]:
        """Return the two hubs between which most pairs of these hosts have their traffic."""
        at = [self.carrier(host) for host in hosts]
        return Counter(tuple(sorted(pair)) for pair in combinations(at, 2) if len({*pair}) == 2).most_common(1)[0][0]

    def reaches(self, host: str, other: str) -> bool:
        """Tell whether a host's pings to another are answered, by IPv4 and IPv6."""
        to = self.hosts[other]
        ask = " && ".join(f"ping -q -c 3 -i 0.1 -W 1 {to[family]} >/dev/null" for family in ("ipv4", "ipv6"))
        return "yes" in self.run(host, f"{ask} && echo yes", check=False)

    def connects(self, host: str, address: str, port: int) -> bool:
        """Tell whether a host can connect to a port by TCP."""
        program = CONNECT.format(address=address, port=port)
        return "yes" in self.run(host, f'python3 -c "{program}" 2>/dev/null && echo yes', check=False)

    # The mesh as a whole.

    def tables(self, hub: str) -> routes.Tables:
        show = ("route", "show", "table", "all")
        shown = [run("ip", "-n", self.namespace(hub), "-j", family, *show) for family in ("-4", "-6")]
        return routes.Tables.of(route for text in shown for route in json.loads(text))

    def disagreements(self, dead: Collection[str] = ()) -> list[str]:
        """Return what hubs do not agree on; hubs and hosts in `dead`, and those that do not run, must be forgotten."""
        gone = {name for name in [*self.hubs, *self.hosts] if name in dead or not self.runs(name)}
        tables = {hub: self.tables(hub) for hub in self.hubs if hub not in gone}
        names = {int(hub["id"]): name for name, hub in self.hubs.items()}
        addresses = {name: (m["ipv4"], m["ipv6"]) for name, m in {**self.hubs, **self.hosts}.items()}
        live = {host: addresses[host] for host in self.hosts if host not in gone}
        return routes.disagreements(tables, names, live, {name: addresses[name] for name in gone})

    def agree(self, dead: Collection[str] = (), seconds: float = 15) -> None:
        """Assert that all live hubs have a route to every live host and agree on its place, soon.

        Args:
            dead: Hubs and hosts that run but are cut off; no route may lead to them.
            seconds: How long they may take: a host that is dead is believed in until its tunnel's timer ends.
        """
        deadline = time.monotonic() + seconds
        while wrong := self.disagreements(dead):
            assert time.monotonic() < deadline, "\n".join(wrong)
            time.sleep(0.2)

    def unsettled(self) -> list[str]:
        """Return the hosts that lack one of two good tunnels, and the hubs that are not fit."""
        found = []
        for host in self.hosts:
            state = self.state(host)
            paths = [*state["paths"].values()] if state else []
            well = all(path["alive"] and path["fit"] for path in paths) and len({path["hub"] for path in paths}) == 2
            if not (well and state["claimed"]):
                found.append(f"{host} has {state}")
        for hub in self.hubs:
            state = self.hub_state(hub)
            if not state or not state["fit"] or state["sessions"] < state["peers"]:
                found.append(f"{hub} has {state}")
        return found

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until hubs agree, every host has two good tunnels and none is changing its way."""
        deadline = time.monotonic() + seconds
        calm_since, before = math.inf, None
        while time.monotonic() < calm_since + STATE_SECONDS:
            now = self.switches()
            if (lacking := [*self.unsettled(), *self.disagreements()]) or now != before:
                calm_since, before = math.inf, now
            if not lacking:
                calm_since = min(calm_since, time.monotonic())
            assert time.monotonic() < deadline, "not settled: " + "\n".join(lacking)
            time.sleep(0.2)

    def be_home(self) -> None:
        """Wait until every host's traffic goes by a hub of its own site: from there nothing moves any more."""
        self.until(lambda: [host for host in self.hosts if not self.is_home(host)], HOME_SECONDS, "not home")
        self.settle()

    def is_home(self, host: str) -> bool:
        return self.state(host) is not None and self.hubs_of(host)[0].startswith(f"{self.hosts[host]['site']}/")

    def until(self, lacking: Callable[[], object], seconds: float, what: str) -> float:
        """Wait until `lacking` returns nothing; return how long that took, in seconds."""
        began = time.monotonic()
        while found := lacking():
            assert time.monotonic() < began + seconds, f"{what} after {seconds} s: {found}"
            time.sleep(0.1)
        return time.monotonic() - began

    def restore(self) -> None:
        """Undo every fault of the lab's and wait until the mesh is well again."""
        self.undo()
        self.settle()

    def undo(self) -> None:
        stack = load(PROJECT, self.tree.stack)
        for name, machine in stack.machines.items():
            if machine.model_dump(include=set(Faults.model_fields)) != Faults().model_dump():
                self.lab("restore", name)
            if not machines.is_running(stack, machine):
                self.lab("start", name)
        for hub in self.hubs:
            if (state := self.hub_state(hub)) and state["draining"]:
                self.run(hub, "/usr/local/lib/vcubev/drain off")

    # A fault.

    def measure(
        self,
        fault: str,
        inject: Callable[[], object],
        *,
        before: float = 1,
        after: float = 3,
        dead: Collection[str] = (),
        apart: Collection[Collection[str]] = (),
        hosts: Iterable[str] = WATCHED,
        streams: Iterable[Stream] = STREAMS,
        keep: bool = True,
    ) -> Outcome:
        """Let traffic run, make a fault, and return what it did.

        Args:
            fault: Its name in the record of all runs.
            inject: Makes it.
            before: Seconds of traffic before it.
            after: Seconds of traffic from its beginning; longer if making it takes longer.
            dead: Hosts that it kills or cuts off itself.
            apart: Groups of hosts that it parts from each other for a while.
            keep: Write it down in the record of all runs.
        """
        numbered = dict(enumerate((one for one in streams if not {one.client, one.server} & {*dead}), 1))
        watched = tuple(host for host in hosts if self.runs(host))
        switched = self.switches()
        with Watching(self.start, self.hosts, watched, numbered) as watching:
            time.sleep(before)
            moment = time.monotonic()
            inject()
            time.sleep(max(0.0, moment + after - time.monotonic()))
            reports = watching.stop()
        result = outcome.weigh(fault, reports, numbered, moment, dead, apart)
        seconds = time.monotonic() - watching.began
        result.cpu_percent = sum(r["cpu_ms"] for r in reports.values() if r) / seconds / 10
        for host, number in self.switches().items():
            earlier = switched[host]
            result.switches[host] = None if number is None or earlier is None else number - earlier
        if keep:
            self.told.append(f"{result} (worst ever {result.keep():.0f} ms)")
        print(result)
        return result
