"""A lab of two sites without firewalls, and what its machines can send each other."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address

import pytest
from typer.testing import CliRunner

from lab import cli, leftovers, machines, networks, underlay
from lab.addresses import router_address
from lab.records import Machine, Rule, Stack, load

STACK = ("labtest", f"faults{os.getpid()}")
SITES = {"hub": "west", "web-1": "west", "far": "east", "db-1": "east", "db-2": "east"}
PUBLIC = {"hub", "far"}
# Each its own, so that a router can keep it and others know where to send to.
PORTS = {"hub": 7001, "web-1": 7002, "far": 7003, "db-1": 7004, "db-2": 47005}
EVERYTHING = [
    Rule(protocol="icmp", sources=["0.0.0.0/0"]),
    *(Rule(protocol=protocol, ports=["1-65535"], sources=["0.0.0.0/0"]) for protocol in ("tcp", "udp")),
]
WAIT_SECONDS = 0.4
HEADERS_BYTES = 28  # IPv4 and ICMP, or UDP
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
counter = itertools.count()


class Lab:
    """Two sites whose firewalls let everything pass, and a UDP socket in each machine's namespace."""

    def __init__(self) -> None:
        self.networks = {site: networks.create_network(*STACK, site, "10.1.0.0/24").id for site in ("west", "east")}
        self.firewalls = {
            site: networks.create_firewall(*STACK, site, network, EVERYTHING) for site, network in self.networks.items()
        }
        self.sockets: dict[str, socket.socket] = {}
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.launch, SITES))

    def launch(self, name: str) -> None:
        site = SITES[name]
        wanted = (self.networks[site], self.firewalls[site], "debian-12", "#cloud-config\n{}", name in PUBLIC)
        machines.create_machine(*STACK, name, *wanted)
        self.sockets[name] = self.udp(name, PORTS[name])

    def udp(self, name: str, port: int) -> socket.socket:
        opened = inside(name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.bind(("", port))
        opened.settimeout(WAIT_SECONDS)
        return opened

    def sent(self, sender: str, receiver: str, size: int = 10) -> bool:
        """Whether a datagram arrives where the receiver is seen as long as its router keeps its port."""
        return arrives(self.sockets[sender], self.sockets[receiver], endpoint(receiver, sender), size)

    def both(self, one: str, other: str) -> tuple[bool, bool]:
        """Whether datagrams pass from one to the other, and back; opens the way through NAT first."""
        for sender, receiver in ((one, other), (other, one)):
            self.sockets[sender].sendto(b"open", endpoint(receiver, sender))
        return self.sent(one, other), self.sent(other, one)


def record() -> Stack:
    return load(*STACK)


def machine(name: str) -> Machine:
    return record().machines[name]


def router_of(name: str) -> IPv4Address:
    return router_address(record().networks[SITES[name]])


def endpoint(name: str, viewer: str) -> tuple[str, int]:
    if SITES[name] == SITES[viewer]:
        seen = machine(name).addresses[-1]
    else:
        seen = machine(name).address if name in PUBLIC else router_of(name)
    return str(seen), PORTS[name]


def inside(name: str, make: Callable[[], socket.socket]) -> socket.socket:
    """Make a socket in a machine's network namespace; it stays there."""

    def enter() -> socket.socket:
        with (underlay.NAMESPACES / record().namespace(machine(name))).open() as namespace:
            assert LIBC.setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        return make()

    # The namespace is the thread's, which ends here.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


def arrives(sender: socket.socket, receiver: socket.socket, to: tuple[str, int], size: int = 10) -> bool:
    return source(sender, receiver, to, size) is not None


def source(sender: socket.socket, receiver: socket.socket, to: tuple[str, int], size: int = 10) -> int | None:
    """Return the port from which a datagram arrives; None if it does not."""
    token = f"{next(counter)} ".encode().ljust(size)
    sender.sendto(token, to)
    with suppress(TimeoutError):
        while True:
            got, (_, port) = receiver.recvfrom(2000)
            if got == token:
                return port
    return None


def ping(name: str, to: str, total_bytes: int = 84, discovery: str = "dont") -> str:
    """Return "answered", the error that ping names, or "silence"."""
    namespace = underlay.NAMESPACES / record().namespace(machine(name))
    command = ["ping", "-c1", "-W1", "-M", discovery, "-s", str(total_bytes - HEADERS_BYTES), endpoint(to, name)[0]]
    done = subprocess.run(["nsenter", f"--net={namespace}", *command], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return "answered"
    said = (done.stdout + done.stderr).lower()
    return next((error for error in ("frag needed", "message too long") if error in said), "silence")


def connect(client: str, server: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection."""
    with inside(server, lambda: socket.create_server(("0.0.0.0", port))) as listener:
        listener.settimeout(2)
        one = inside(client, lambda: socket.create_connection((endpoint(server, client)[0], port), 2))
        other = listener.accept()[0]
    one.settimeout(WAIT_SECONDS)
    other.settimeout(WAIT_SECONDS)
    return one, other


def says(sender: socket.socket, receiver: socket.socket) -> bool:
    with suppress(OSError):
        sender.sendall(b"x")
        return receiver.recv(1) == b"x"
    return False


def console(*arguments: str) -> str:
    """Run `scripts/lab` and return what it says, an error too."""
    # Wide, or the table wraps.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.out, "width", 300)
        with cli.out.capture() as captured:
            done = CliRunner().invoke(cli.app, [*arguments, "--stack", ".".join(STACK)])
    return captured.get() + done.output + str(done.exception or "")


@contextmanager
def standing(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Lab]:
    """Have a lab of these tests' own, of which nothing is left in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VCUBEV_LAB_ROOT", str(tmp_path_factory.mktemp(name) / "root"))
        try:
            yield Lab()
        finally:
            assert leftovers.sweep(record()) == [], "the next run would find it"
