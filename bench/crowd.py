"""A hub as the program makes it, one host that is there all the time, and many that come when they are told to.

Run inside `apart()` (tests/daemons/routed.py): all of it ends with its first process.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

from components.model import render
from components.model.addressing import MEMBER_IDS
from tests.agents.loading import load
from tests.daemons.entering import OVERLAY, Mesh, is_in, until
from tests.rendering import TOPOLOGY

HUB = TOPOLOGY.hubs[0]
WATCHER, CROWD = "watcher", "crowd"
WATCHER_ADDRESS = "10.100.9.1"  # of a role that the crowd has not
WIRE = ("198.19.0.0", "198.19.0.1")  # between the hub and the crowd
DOOR, DEVICE = "udp", "hosts-udp"
WATCH_SECONDS, PROBE_SECONDS = 0.02, load("tunnels").PROBE_SECONDS
REALTIME = 1  # the priority of the host that watches: the crowd's work on this computer is none of its hub's
LONGEST_SECONDS = 120
ANSWERED = re.compile(r"^\[([\d.]+)\] \S+ : \[(\d+)\], \d+ bytes, ([\d.]+) ms", re.MULTILINE)
# Of a hub's cores one is OpenVPN's, its hooks' and its agents' here, another the hosts' processes'.
CORES = sorted(os.sched_getaffinity(0))
HUB_CORE, CROWD_CORE = {CORES[0]}, {CORES[-1]}


@dataclass
class Seen:
    """What the host that was there before saw meanwhile."""

    gap_ms: float = 0
    lost: int = 0
    sent: int = 0


@dataclass
class Arrived:
    """How the hosts came."""

    after: list[float] = field(default_factory=list)  # in seconds, from the first that was told to come
    took: list[float] = field(default_factory=list)  # ... from when each was told
    tries: int = 0  # that came to nothing


class Crowd(Mesh):
    """A hub with its filter, BIRD and agents, and its hosts."""

    own_user = False  # `apart` has seen to it

    def __init__(self, place: Path, stack: ExitStack, hosts: int) -> None:
        addresses = [f"10.100.{n // len(MEMBER_IDS) + 1}.{MEMBER_IDS[n % len(MEMBER_IDS)]}" for n in range(hosts)]
        self.crowd = {f"h{n}": address for n, address in enumerate(addresses)}
        os.sched_setaffinity(0, HUB_CORE)
        super().__init__(place, stack, HUB, {WATCHER: WATCHER_ADDRESS, **self.crowd})
        self._serve_all()
        os.sched_setaffinity(0, CROWD_CORE)
        self._watch()
        self._gather()

    def _serve_all(self) -> None:
        files = render.hub_files(HUB, OVERLAY, "127.0.0.1")
        bird = files["/etc/bird/bird.conf"].content.replace("log syslog all", "log stderr {warning, error}")
        links = self.path("/etc/bird/links")
        links.mkdir(parents=True, exist_ok=True)
        (links / "none.conf").touch()
        self.path("/etc/bird/bird.conf").write_text(bird.replace("/etc/bird/links", str(links)))
        for directory in ("/run/bird", "/run/vcubev-hub"):
            self.path(directory).mkdir(parents=True)
        for command in (
            [self.path("/usr/local/lib/vcubev/net-up")],
            ["sysctl", "-q", "-p", self.path("/etc/sysctl.d/60-vcubev.conf")],
            ["ip", "link", "set", DEVICE, "txqueuelen", render.CONSTANTS["TX_QUEUE_PACKETS"]],
            ["nft", "-f", self.path("/etc/nftables.conf")],
        ):
            done = self.run(*command)
            assert done.returncode == 0, f"{command}: {done.stderr}"
        control = self.path("/run/bird/bird.ctl")
        self.start("bird", "bird", "-f", "-c", self.path("/etc/bird/bird.conf"), "-s", control, "-P", f"{control}.pid")
        until(control.exists, 10)
        self.start("hub", sys.executable, self.path("/usr/local/lib/vcubev/hub.py"))
        log = self.serve(DOOR)
        until(lambda: is_in(log), 15)
        until(lambda: '"fit": 1' in self.state(), 15)

    def state(self) -> str:
        file = self.path("/run/vcubev-hub/state.json")
        return file.read_text() if file.exists() else ""

    def _watch(self) -> None:
        self.place_host(WATCHER)
        log = self.connect(WATCHER, DOOR)
        self._first(self.daemons[f"{WATCHER}-{DOOR}-1"])
        until(lambda: is_in(log), 15)
        self.use(WATCHER, DOOR)
        until(lambda: self.run("ping", "-c", "1", "-W", "1", HUB.address.ipv4, host=WATCHER).returncode == 0, 10)

    def _first(self, process: subprocess.Popen) -> None:
        with suppress(PermissionError):
            os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(REALTIME))

    def _gather(self) -> None:
        """Start all hosts' clients; each holds until it is told to come."""
        inside = self.hosts[CROWD] = self._namespace(self._inside)
        holder = inside[1].partition("=")[2]
        self.run("ip", "link", "add", CROWD, "type", "veth", "peer", "name", "eth0", "netns", holder)
        self.run("ip", "address", "add", f"{WIRE[0]}/31", "dev", CROWD)
        self.run("ip", "link", "set", CROWD, "up")
        lines = [f"address add {WIRE[1]}/31 dev eth0", "link set eth0 up"]
        for name, address in self.crowd.items():
            lines += [f"address add {address}/32 dev lo", f"tuntap add dev {name} mode tun"]
            lines += [f"link set {name} mtu {render.CONSTANTS['MTU_BYTES']} up"]
        (self.path("/crowd.batch")).write_text("\n".join(lines) + "\n")
        done = self.run("ip", "-batch", self.path("/crowd.batch"), host=CROWD)
        assert done.returncode == 0, done.stderr
        host = TOPOLOGY.hosts[0]
        self._put({"/client.conf": render.host_files(host, OVERLAY, [])["/etc/vcubev/path.conf"]})
        for name in self.crowd:
            self.start(name, "openvpn", "--config", self._client(name), host=CROWD)
        self.sockets = [self._management(name) for name in self.crowd]

    def _client(self, name: str) -> Path:
        """Write what a host's agent writes (`tunnel_lines`), and what a bench needs."""
        home, told = self.path(f"/{name}"), load("tunnels")
        hub = told.Hub(HUB.id, HUB.site, HUB.name, str(HUB.address.ipv4), WIRE[0], HUB.port, HUB.tcp_port)
        lines = [line for line in told.tunnel_lines(1, hub, "udp") if not line.startswith("dev ")]
        lines += [f"config {self.path('/client.conf')}", f"dev {name}", f"cert {home / 'certificate.pem'}"]
        lines += [f"key {home / 'key.pem'}", f"tls-crypt-v2 {home / 'channel.key'}"]
        lines += [f"management {home / 'control'} unix", "management-hold", "verb 1"]
        (home / "client.conf").write_text("\n".join(lines) + "\n")
        return home / "client.conf"

    def _management(self, name: str) -> socket.socket:
        control = socket.socket(socket.AF_UNIX)

        def connected() -> bool:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                control.connect(str(self.path(f"/{name}/control")))
                return True
            return False

        until(connected, LONGEST_SECONDS)
        control.sendall(b"state on\n")
        return control

    def come(self, delays: Sequence[float]) -> Arrived:
        """Let each host come after its delay; return when each was in."""
        waiting = sorted(enumerate(delays), key=lambda pair: pair[1], reverse=True)
        told: dict[int, float] = {}
        done: dict[int, float] = {}
        arrived = Arrived()
        with selectors.DefaultSelector() as selector:
            for number, control in enumerate(self.sockets):
                selector.register(control, selectors.EVENT_READ, number)
            began = time.monotonic()
            while len(done) < len(delays):
                now = time.monotonic()
                assert now < began + LONGEST_SECONDS, f"{len(delays) - len(done)} hosts have not come"
                while waiting and began + waiting[-1][1] <= now:
                    number, _ = waiting.pop()
                    self.sockets[number].sendall(b"hold off\nhold release\n")
                    told[number] = time.monotonic()
                for key, _ in selector.select(0.005):
                    text = key.fileobj.recv(65536)
                    arrived.tries += text.count(b",RECONNECTING,")
                    if b",CONNECTED," in text and key.data in told:
                        done.setdefault(key.data, time.monotonic())
        arrived.after = sorted(at - began for at in done.values())
        arrived.took = sorted(at - told[number] for number, at in done.items())
        return arrived

    def go(self) -> None:
        """Let all hosts vanish, with no word to the hub, and hold."""
        for control in self.sockets:
            control.sendall(b"hold on\nsignal SIGUSR1\n")
        for control in self.sockets:
            text = b""
            while b"RECONNECTING" not in text:
                text += control.recv(65536)

    def claim(self, above: int) -> list[float]:
        """Have all hosts claim their traffic at once; return after how many seconds each had it.

        Args:
            above: The mobility number that they had elsewhere.
        """
        told = {"hub": str(HUB.address.ipv4), "port": render.CONSTANTS["CLAIMS_PORT"], "above": above}
        done = subprocess.run(
            [*self.hosts[CROWD], sys.executable, "-m", "bench.claiming"],
            input=json.dumps({**told, "hosts": self.crowd}), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def here(self) -> int:
        """Return how many hosts have a session at the hub."""
        return sum(1 for _ in self.path(f"/run/vcubev-{DEVICE}").glob("*.*.*.*[0-9]"))

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Have the host that is there all the time ping its hub; tell what it saw."""
        seen, output = Seen(), self.path("/watched")
        command = ["fping", "-D", "-l", "-p", str(round(WATCH_SECONDS * 1000)), "-t", "2000", str(HUB.address.ipv4)]
        with output.open("w") as file:
            fping = subprocess.Popen([*self.hosts[WATCHER], *command], stdout=file, stderr=subprocess.STDOUT)
        self._first(fping)
        try:
            time.sleep(0.5)
            yield seen
            time.sleep(0.5)
        finally:
            fping.send_signal(signal.SIGINT)
            fping.wait()
        found = [(float(at), int(number)) for at, number, _ in ANSWERED.findall(output.read_text())]
        times = sorted(at for at, _ in found)
        seen.gap_ms = max(later - earlier for earlier, later in pairwise(times)) * 1000
        seen.sent = found[-1][1] - found[0][1] + 1
        seen.lost = seen.sent - len(found)

    @contextmanager
    def probed(self, hosts: int) -> Iterator[None]:
        """Have so many hosts probe the hub as hosts do."""
        common = ["fping", "-q", "-l", "-p", str(round(PROBE_SECONDS * 1000)), "-t", "1000"]
        probers = [
            subprocess.Popen(
                [*self.hosts[CROWD], *common, "-S", address, "-I", name, str(HUB.address.ipv4)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name, address in list(self.crowd.items())[:hosts]
        ]
        try:
            yield
        finally:
            for prober in probers:
                prober.kill()
                prober.wait()

    def cpu_seconds(self) -> dict[str, float]:
        """Return what the hub's processes have spent: OpenVPN, its hooks, each agent."""
        spent = {}
        for name in (DOOR, "routes", "hub", "bird"):
            spent[name] = int(self._proc(name, "schedstat").split()[0]) / 1e9
        stat = self._proc(DOOR, "stat").rpartition(")")[2].split()
        spent["hooks"] = (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK")
        return spent

    def busy(self) -> dict[str, float]:
        """Return for how many seconds each of the two cores has worked, for whomever."""
        found, names = {}, {f"cpu{min(HUB_CORE)}": "hub", f"cpu{min(CROWD_CORE)}": "crowd"}
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in names:
                worked = sum(map(int, ticks[:8])) - int(ticks[3]) - int(ticks[4])
                found[names[name]] = worked / os.sysconf("SC_CLK_TCK")
        return found

    def megabytes(self) -> float:
        return int(self._proc(DOOR, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _proc(self, name: str, file: str) -> str:
        return Path(f"/proc/{self.daemons[name].pid}/{file}").read_text()


def spread(names: Sequence[str]) -> list[float]:
    """Return how long a spare of each host waits for a hub that has died, less what the first waits (choice.py)."""
    choice, told = load("choice"), load("tunnels")
    dead = told.Hub(HUB.id, HUB.site, "dead", str(IPv4Address(HUB.address.ipv4) + 1), WIRE[0], HUB.port, HUB.tcp_port)
    hosts = [choice.Choice(name, HUB.site) for name in names]
    return [choice.CONNECT_SECONDS * host._spread(dead) for host in hosts]
