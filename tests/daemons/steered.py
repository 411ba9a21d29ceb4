"""A host that uses services at their shared addresses, three servers and a hub, each a network namespace.

Run inside `routed.apart()`; prints what it saw as JSON. A switch in this process is the network: it carries packets
between the namespaces, each with a delay of its own, and lets machines die. Agent, rules and names' daemon are real.
"""

from __future__ import annotations

import json
import os
import select
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
from tests.daemons.delayed import Switch, inside, started
from tests.daemons.routed import until
from tests.model.policy_stack import BASE

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


class Bed:
    """All of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.service,) = nearest_services(TOPOLOGY.policy, CLIENT)
        self.shared = [str(address) for address in self.service.shared]
        self.switch, self.processes = Switch(TOPOLOGY.overlay, DELAYS), {}
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
