"""A host that uses services at their shared addresses, three servers and a hub, each a network namespace.

Run inside `routed.apart()`; prints what it saw as JSON. A switch in this process is the network: it carries packets
between the namespaces, each with a delay of its own, and lets machines die. Agent, rules and names' daemon are real.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from components.model.nearest import nearest_service_files, nearest_services
from components.model.render import hub_files
from components.model.stackfile import load
from tests.agents.loading import AGENTS
from tests.daemons.routed import run, until
from tests.model.policy_stack import BASE

SET_DEVICE, TUN_WITHOUT_HEADER = 0x400454CA, 0x1001  # linux/if_tun.h
TOPOLOGY = load(
    {
        **BASE,
        "services": {
            "ldap": {
                "on": "ldap",
                "ports": ["389/tcp", "389/udp", "8080/tcp"],
                "from": ["any"],
                "anycast": True,
                "check": {"http": 8080, "path": "/healthz", "every_seconds": 1},
            }
        },
    },
    ("lab",),
)
CLIENT = next(host for host in TOPOLOGY.hosts if host.name == "web-1")
DELAYS = {"web-1": 0.0, "hub": 0.001, "near": 0.002, "middle": 0.010, "far": 0.030}
MEMBERS = {"near": 1, "middle": 2, "far": 3}
SERVE = """
import http.server, pathlib, socket, sys, threading
name, ipv4, ipv6, health = sys.argv[1:]
def tcp(address):
    listener = socket.create_server((address, 389), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    def talk(client):
        client.sendall(name.encode() + b"\\n")
        while text := client.recv(100):
            client.sendall(name.encode() + b"\\n")
    while True:
        threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()
def udp(address):
    talk = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    talk.bind((address, 389))
    while True:
        _, client = talk.recvfrom(100)
        talk.sendto(name.encode(), client)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(pathlib.Path(health).read_text()) if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *arguments):
        pass
for address in (ipv4, ipv6):
    for serve in (tcp, udp):
        threading.Thread(target=serve, args=(address,), daemon=True).start()
http.server.ThreadingHTTPServer((ipv4, 8080), Health).serve_forever()
"""
# Of a client: (name of the server or the error, seconds).
ASK = """
import json, socket, sys, time
address, kind = sys.argv[1:]
began = time.monotonic()
talk = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                     socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
talk.settimeout(0.5)
try:
    talk.connect((address, 389))
    talk.send(b"?")
    said = talk.recv(100).split()[0].decode()
except OSError as problem:
    said = type(problem).__name__
print(json.dumps([said, time.monotonic() - began]))
"""
# A client that keeps its one socket: asks for each line that it reads.
KEEP = """
import socket, sys
talk = socket.socket(socket.AF_INET, socket.SOCK_STREAM if sys.argv[2] == "tcp" else socket.SOCK_DGRAM)
talk.connect((sys.argv[1], 389))
talk.settimeout(1)
for line in sys.stdin:
    try:
        talk.send(b"?")
        print(talk.recv(100).split()[0].decode(), flush=True)
    except OSError as problem:
        print(type(problem).__name__, flush=True)
"""


class Switch:
    """The network: what a namespace sends by its one device comes out at the device of whoever has the address."""

    def __init__(self) -> None:
        self._devices: dict[str, int] = {}
        self._places: dict[bytes, str] = {}
        self.dead: set[str] = set()
        threading.Thread(target=self._carry, daemon=True).start()

    def add(self, name: str, device: str, ipv4, ipv6) -> None:
        """Make a namespace with these addresses, and a device that leads to all others."""
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        label = f"to-{name}"
        fcntl.ioctl(tun, SET_DEVICE, struct.pack("16sH14x", label.encode(), TUN_WITHOUT_HEADER))
        run("ip", "netns", "add", name)
        run("ip", "link", "set", label, "netns", name)
        overlay = TOPOLOGY.overlay
        inside(
            name,
            "sh",
            "-euc",
            f"ip link set lo up; ip link set {label} name {device}; ip link set {device} up;"
            f" ip address add {ipv4}/32 dev lo; ip -6 address add {ipv6}/128 dev lo nodad;"
            f" ip route add {overlay.ipv4} dev {device} src {ipv4};"
            f" ip -6 route add {overlay.ipv6} dev {device} src {ipv6}",
        )
        self._places |= {ipv4.packed: name, ipv6.packed: name}
        self._devices[name] = tun

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        count = 0
        while True:
            devices = {tun: name for name, tun in list(self._devices.items())}
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for tun in select.select(devices, [], [], min(pause, 0.05))[0]:
                packet = os.read(tun, 65536)
                target = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
                source, place = devices[tun], self._places.get(target)
                if place is None or {source, place} & self.dead:
                    continue
                count += 1
                late = time.monotonic() + DELAYS[source] + DELAYS[place]
                heapq.heappush(waiting, (late, count, self._devices[place], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, tun, packet = heapq.heappop(waiting)
                os.write(tun, packet)


def inside(name: str, *command: str) -> str:
    return run("ip", "netns", "exec", name, *command)


def started(name: str, *command: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(["ip", "netns", "exec", name, *map(str, command)], text=True, **options)


class Bed:
    """All of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.service,) = nearest_services(TOPOLOGY.policy, CLIENT)
        self.shared = [str(address) for address in self.service.shared]
        self.switch, self.processes = Switch(), {}
        self.hosts = directory / "hosts"
        for place in (self.hosts, directory / "services", directory / "run"):
            place.mkdir()
        self.switch.add("hub", "hosts", TOPOLOGY.overlay.names.ipv4, TOPOLOGY.overlay.names.ipv6)
        self.switch.add("web-1", "path1", CLIENT.address.ipv4, CLIENT.address.ipv6)
        for name in MEMBERS:
            self.switch.add(name, "path1", *self.addresses(name))
            self.health(name, 200)
            self.serve(name)
            self.list(name)
        config = hub_files(TOPOLOGY.hubs[0], TOPOLOGY.overlay, "192.0.2.1")["/etc/vcubev/dns.conf"].content
        (directory / "dns.conf").write_text(config.replace("/run/vcubev-names/hosts", str(self.hosts)))
        dnsmasq = ("dnsmasq", "--keep-in-foreground", f"--conf-file={directory}/dns.conf", "--pid-file", "--user=root")
        self.processes["hub"] = started("hub", *dnsmasq)
        self._steer()

    def addresses(self, name: str):
        role = self.service.on
        return (
            role.ipv4[0].network_address + MEMBERS[name],
            role.ipv6[0].network_address + MEMBERS[name],
        )

    def serve(self, name: str) -> None:
        health = self.directory / f"{name}.health"
        self.processes[name] = started(name, sys.executable, "-I", "-c", SERVE, name, *self.addresses(name), health)

    def health(self, name: str, status: int) -> None:
        (self.directory / f"{name}.health").write_text(str(status))

    def list(self, name: str) -> None:
        """Have the hub say that a server lives."""
        ipv4, _ = self.addresses(name)
        draft = self.hosts / f".{name}"
        draft.write_text(f"{ipv4} ldap.{TOPOLOGY.overlay.domain}\n")
        draft.rename(self.hosts / name)

    def declare(self, ping: bool = True) -> None:
        """Give the client the file of the service, as an `up` does."""
        (spec,) = nearest_service_files(self.service, CLIENT, TOPOLOGY.overlay, ping).values()
        draft = self.directory / "services" / ".ldap.new"
        draft.write_text(spec.content)
        draft.rename(self.directory / "services" / "ldap.json")

    def start_agent(self) -> None:
        program = f"""import sys, asyncio, pathlib; sys.path.insert(0, {str(AGENTS)!r}); import nearest
nearest.SERVICES = pathlib.Path({str(self.directory / "services")!r})
nearest.RUN = pathlib.Path({str(self.directory / "run")!r})
nearest.STEER = {str(self.directory / "steer")!r}
asyncio.run(nearest.Agent().run())"""
        self.processes["agent"] = started("web-1", sys.executable, "-I", "-c", program, stdout=sys.stderr)

    def _steer(self) -> None:
        """Start the program that writes rules for each line, as its socket unit does."""
        path = self.directory / "steer"
        os.mkfifo(path)
        fifo = os.open(path, os.O_RDWR)
        program = f"""import sys, pathlib; sys.path.insert(0, {str(AGENTS)!r}); import steer
steer.SERVICES = pathlib.Path({str(self.directory / "services")!r})
steer.CHOSEN = pathlib.Path({str(self.directory / "run" / "chosen.json")!r})
steer.main()"""

        def heed() -> None:
            while select.select([fifo], [], [])[0]:
                started("web-1", sys.executable, "-I", "-c", program, stdin=fifo, stdout=sys.stderr).wait()

        threading.Thread(target=heed, daemon=True).start()

    def ask(self, kind: str = "tcp", family: int = 0) -> tuple[str, float]:
        told = inside("web-1", sys.executable, "-I", "-c", ASK, self.shared[family], kind)
        return tuple(json.loads(told))

    def uses(self, name: str, seconds: float = 15) -> float:
        return until(lambda: self.ask()[0] == name, f"{name} is used", seconds)

    def keep(self, kind: str) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return started("web-1", sys.executable, "-I", "-u", "-c", KEEP, self.shared[0], kind, **pipes)

    def rules(self) -> str:
        return inside("web-1", "nft", "list", "table", "inet", "vcubev_nearest")

    def state(self) -> SimpleNamespace:
        return SimpleNamespace(**json.loads((self.directory / "run" / "state.json").read_text())["services"]["ldap"])


def say(client: subprocess.Popen[str]) -> str:
    client.stdin.write("\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def look(bed: Bed) -> dict[str, object]:
    """Go through the life of a service; return what was seen."""
    seen: dict[str, object] = {}
    bed.declare()
    bed.start_agent()
    seen["first seconds"] = bed.uses("near")
    seen["all ways"] = [bed.ask(kind, family)[0] for kind in ("tcp", "udp") for family in (0, 1)]
    tcp, udp = bed.keep("tcp"), bed.keep("udp")
    seen["kept before"] = [say(tcp), say(udp)]

    bed.health("near", 500)
    seen["unwell seconds"] = bed.uses("middle")
    seen["why unwell"] = bed.state().last_move["reason"]
    seen["kept while unwell"] = [say(tcp), say(udp)]  # TCP stays with its server; UDP leaves it
    bed.health("near", 200)
    seen["well again seconds"] = bed.uses("near", 30)
    seen["why well again"] = bed.state().last_move["reason"]

    udp = bed.keep("udp")
    seen["flow before"] = say(udp)
    bed.switch.dead.add("near")
    seen["dead seconds"] = bed.uses("middle")
    seen["why dead"] = bed.state().last_move["reason"]
    seen["flow after"] = say(udp)

    bed.processes["agent"].kill()
    bed.processes["agent"].wait()
    seen["without agent"] = bed.ask()[0]
    bed.start_agent()
    time.sleep(1)
    seen["with another agent"] = bed.ask()[0]

    # Nobody hears anybody: that says nothing of the servers.
    bed.switch.dead.add("hub")
    bed.switch.dead |= {"middle", "far"}
    time.sleep(3)
    bed.switch.dead -= {"hub", "middle", "far"}
    time.sleep(1)
    seen["after blindness"] = bed.ask()[0]
    seen["why after blindness"] = bed.state().last_move["reason"]

    bed.switch.dead |= {"middle", "far"}
    seen["refused after seconds"] = until(lambda: bed.ask()[0] == "ConnectionRefusedError", "it is refused")
    seen["refused"] = [bed.ask(kind, family) for kind in ("tcp", "udp") for family in (0, 1)]
    bed.switch.dead.clear()
    seen["back seconds"] = until(lambda: bed.ask()[0] in MEMBERS, "it is back")

    (bed.directory / "services" / "ldap.json").unlink()
    until(lambda: "dnat" not in bed.rules() and "reject" not in bed.rules(), "the rules are gone")
    return seen


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        bed = Bed(Path(directory))
        try:
            print(json.dumps(look(bed), indent=1))
        finally:
            for process in bed.processes.values():
                process.kill()


if __name__ == "__main__":
    main()
