"""Hubs as network namespaces with real BIRDs, routed by the files that the program renders.

Run inside `apart()`: namespaces of processes, mounts and networks of its own, which end with it however it ends. Links
are veth pairs with the names and addresses of the real ones, which are OpenVPN tunnels.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.model import render
from components.model.topology import HubView, LinkView, Topology
from tests.rendering import ROOT

HOSTS_DEVICE = "hosts-udp"
MUST_SECONDS = 30
LOOK_SECONDS = 0.02
ROUTING_SYSCTLS = "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0"


def apart(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this project where nothing outside can be touched."""
    # Root stays root: in a user namespace BIRD may not have the buffer that it asks for.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child"]
    # `ip netns` keeps its names in /run.
    prepare = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'
    run = ["sh", "-c", prepare, "sh", sys.executable, "-m", module, *arguments]
    return [*unshare, "--mount-proc", *run]


def seen_apart(module: str, *arguments: str, seconds: float = 120) -> Any:
    """Run such a module; return what it printed, which is JSON.

    Args:
        seconds: How long it may take.
    """
    done = subprocess.run(apart(module, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Bird:
    """One BIRD's control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(MUST_SECONDS)
        self._socket.connect(str(path))
        self._answer()

    def ask(self, command: str) -> str:
        self._socket.sendall(f"{command}\n".encode())
        return self._answer()

    def _answer(self) -> str:
        text = b""
        while not re.search(rb"^\d{4} .*\n\Z", text[-4096:], re.MULTILINE):
            part = self._socket.recv(1 << 20)
            if not part:
                raise ConnectionError("BIRD went")
            text += part
        return text.decode(errors="replace")


class Hubs:
    """The hubs of a topology, each in a network namespace."""

    def __init__(self, topology: Topology, directory: Path) -> None:
        self.topology = topology
        self.by_id = {hub.id: hub for hub in topology.hubs}
        self._directory = directory
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.birds: dict[int, Bird] = {}

    def make(self, wire: Callable[[Hubs], None] | None = None) -> None:
        """Make namespaces, devices and links, and start the BIRDs.

        Args:
            wire: Makes the links; by itself, pairs of virtual wires.
        """
        for hub_id in self.by_id:
            run("ip", "netns", "add", name(hub_id))
        (wire or Hubs.pair)(self)
        for hub in self.by_id.values():
            self.inside(
                hub.id,
                "sh",
                "-euc",
                f"sysctl -q -w {ROUTING_SYSCTLS}; ip link set lo up; ip address add {hub.address.ipv4}/32 dev lo;"
                f" ip -6 address add {hub.address.ipv6}/128 dev lo nodad;"
                f" ip link add {HOSTS_DEVICE} type veth peer name hosts-end;"
                f" ip link set {HOSTS_DEVICE} up; ip link set hosts-end up",
            )
            self._configure(hub)
        for hub_id in self.by_id:
            self.start(hub_id)

    def pair(self) -> None:
        """Make each link a pair of virtual wires."""
        made = [
            f"link add link{link.dialer.id} netns {name(link.listener.id)} type veth"
            f" peer name link{link.listener.id} netns {name(link.dialer.id)}"
            for link in self.topology.links
        ]
        batch("ip", "-batch", "-", lines=made)
        for hub in self.by_id.values():
            lines = []
            for peer in self.peers(hub):
                lines += [f"link set link{peer.id} addrgenmode none up"]
                lines += [f"address add {hub.link_local}/64 dev link{peer.id} nodad"]
            batch(*self._in(hub.id), "ip", "-6", "-batch", "-", lines=lines)

    def peers(self, hub: HubView) -> list[HubView]:
        return [link.dialer if link.listener == hub else link.listener for link in self.links_of(hub)]

    def links_of(self, hub: HubView) -> list[LinkView]:
        return [link for link in self.topology.links if hub in (link.listener, link.dialer)]

    def start(self, hub_id: int) -> None:
        """Start a hub's BIRD and wait for its control socket."""
        control = self.path(hub_id) / "bird.ctl"
        control.unlink(missing_ok=True)
        command = [*self._in(hub_id), "bird", "-f", "-c", str(self.path(hub_id) / "bird.conf"), "-s", str(control)]
        log = (self.path(hub_id) / "bird.log").open("ab")
        self._processes[hub_id] = subprocess.Popen([*command, "-P", f"{control}.pid"], stdout=log, stderr=log)
        until(lambda: self._speaks(hub_id, control), f"BIRD of hub {hub_id}")

    def _speaks(self, hub_id: int, control: Path) -> bool:
        # The socket is there a moment before anybody listens.
        with suppress(FileNotFoundError, ConnectionRefusedError):
            self.birds[hub_id] = Bird(control)
            return True
        return False

    def die(self, hub_id: int) -> None:
        """End a hub as a power cut does: nothing comes from it any more, and nobody is told."""
        self._swallow(hub_id, "")
        self._processes[hub_id].kill()
        self.birds.pop(hub_id)

    def cut(self, one: int, other: int) -> None:
        """Let the link between two hubs lose all that it carries, as a tunnel whose way is cut does."""
        self._swallow(one, f"link{other}")

    def _swallow(self, hub_id: int, device: str) -> None:
        rules = {hook: ("oifname" if hook == "output" else "iifname") for hook in ("input", "forward", "output")}
        match = lambda word: f'{word} "{device}" drop' if device else "drop"  # noqa: E731
        chains = [
            f"chain {hook} {{ type filter hook {hook} priority -300; {match(word)}; }}" for hook, word in rules.items()
        ]
        # What is forwarded out by it, too.
        if device:
            chains.append(f'chain out {{ type filter hook postrouting priority -300; oifname "{device}" drop; }}')
        batch(*self._in(hub_id), "nft", "-f", "-", lines=["table inet swallow {", *chains, "}"])

    def inside(self, hub_id: int, *command: str) -> str:
        return run(*self._in(hub_id), *command)

    def process(self, hub_id: int) -> int:
        """Return the number of a hub's BIRD."""
        return self._processes[hub_id].pid

    def route(self, hub_id: int, addresses: Iterable[tuple[str, int]], verb: str = "add") -> None:
        """Write host routes as client-connect does, or take them away: (address, mobility number)."""
        into = f"dev {HOSTS_DEVICE} table {render.CONSTANTS['HOSTS_TABLE']} proto 99"
        lines = [f"route {verb} {address} {into} metric {number}" for address, number in addresses]
        batch(*self._in(hub_id), "ip", "-batch", "-", lines=lines)

    def best(self, hub_id: int, address: str) -> tuple[int, list[int]]:
        """Return the mobility number and the AS path, as ids of hubs, of the route that a hub has chosen."""
        found = self.birds[hub_id].ask(f"show route {address} primary all")
        number = re.search(r"local_pref: (\d+)", found)
        path = re.search(r"as_path: ([\d ]*)", found)
        first = self.topology.hubs[0].asn - self.topology.hubs[0].id
        return int(number[1]) - 100 if number else 0, [int(asn) - first for asn in path[1].split()] if path else []

    def sessions(self, hub_id: int) -> int:
        """Return how many of a hub's sessions are up."""
        return len(re.findall(r"link\d+\s+BGP.*Established", self.birds[hub_id].ask("show protocols")))

    def join(self, seconds: float = MUST_SECONDS) -> None:
        """Wait until all sessions are up."""
        lacking = lambda: [i for i in self.birds if self.sessions(i) < len(self.links_of(self.by_id[i]))]  # noqa: E731
        until(lambda: not lacking(), "all sessions", seconds)

    def path(self, hub_id: int) -> Path:
        return self._directory / name(hub_id)

    def _in(self, hub_id: int) -> tuple[str, ...]:
        return ("ip", "netns", "exec", name(hub_id))

    def _configure(self, hub: HubView) -> None:
        files = render.hub_files(hub, self.topology.overlay, "192.0.2.1")
        links = self.path(hub.id) / "links"
        links.mkdir(parents=True)
        text = files["/etc/bird/bird.conf"].content
        # A log of its own: there is no syslog here.
        text = text.replace("/etc/bird/links", str(links)).replace("log syslog all", "log stderr {warning, error}")
        (self.path(hub.id) / "bird.conf").write_text(text)
        (links / "none.conf").write_text("# none\n")
        for link in self.links_of(hub):
            peer = link.dialer if link.listener == hub else link.listener
            end = render.link_files(hub, peer, link, "192.0.2.1")[f"/etc/bird/links/{peer.id}.conf"]
            (links / f"{peer.id}.conf").write_text(end.content)


def name(hub_id: int) -> str:
    return f"h{hub_id}"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def batch(*command: str, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[:500]}")


def until(true: Callable[[], object], what: str, seconds: float = MUST_SECONDS) -> float:
    """Wait for something; return how long it took.

    Raises:
        TimeoutError: It did not come.
    """
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - started


@contextlib.contextmanager
def host(hubs: Hubs, hub_id: int, label: str, address: str) -> Iterator[None]:
    """Put a host that answers behind a hub, in the place of the device of all hosts."""
    run("ip", "netns", "add", label)
    hubs.inside(hub_id, "ip", "link", "del", HOSTS_DEVICE)
    run(
        "ip", "link", "add", HOSTS_DEVICE, "netns", name(hub_id), "type", "veth", "peer", "name", "eth0", "netns", label
    )
    proxy = f"sysctl -q -w net.ipv4.conf.{HOSTS_DEVICE}.proxy_arp=1; ip link set {HOSTS_DEVICE} up"
    hubs.inside(hub_id, "sh", "-euc", proxy)
    own = f"ip link set lo up; ip link set eth0 up; ip address add {address}/32 dev eth0; ip route add default dev eth0"
    run("ip", "netns", "exec", label, "sh", "-euc", own)
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):
            run("ip", "netns", "del", label)


def inside_apart() -> bool:
    """Tell whether this process is the first of namespaces of its own."""
    return os.getpid() == 1
