"""Who writes hosts' routes on a hub, on a real kernel: the routes of hosts, and not one word more."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from components.model import render
from tests.agents.loading import load
from tests.rendering import ROOT, TOPOLOGY

TEMPLATES = ROOT / "components" / "templates"
HUB = replace(TOPOLOGY.hubs[0], processes=3)
DEVICES = [f"hosts-{door.name}" for door in HUB.doors]
HIGHEST = load("bird").HIGHEST_NUMBER
os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps `ip`, out of a plain user's PATH
NAMESPACES = ["--user", "--net"]


class Machine:
    """A network namespace with a hub's devices, and vcubev-routes in it; needs no root."""

    def __init__(self, directory):
        self.run, self.sessions = directory / "run", {}
        paths = {"/etc/vcubev": str(directory), "/run": str(self.run)}
        for name in (f"vcubev-{device}" for device in DEVICES):
            (self.run / name).mkdir(parents=True)
        (self.run / "vcubev-routes").mkdir()
        (directory / "hub.json").write_text(
            render.hub_files(HUB, TOPOLOGY.overlay, "203.0.113.1")["/etc/vcubev/hub.json"].content
        )
        for device in DEVICES:
            (directory / f"{device}.conf").touch()
        agents = [f"agents/{part}.py" for part in ("routes", "doors", "bird", "notify", "plan")]
        for source in (*agents, "hooks/ask-routes"):
            text = (TEMPLATES / source).read_text()
            for old, new in paths.items():
                text = text.replace(f'"{old}', f'"{new}')
            (directory / source.rpartition("/")[2]).write_text(text)
        self.directory, self.service = directory, None
        hold = ["unshare", "--map-root-user", *NAMESPACES, "sh", "-c", "echo ready; exec sleep 600"]
        self._holder = subprocess.Popen(hold, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        links = [f"tuntap add dev {device} mode tun\nlink set {device} up" for device in (*DEVICES, "link2")]
        self.inside("ip", "-batch", "-", input="\n".join(links))

    def _enter(self, *command):
        return ["nsenter", "-t", str(self._holder.pid), *NAMESPACES, "--preserve-credentials", *map(str, command)]

    def inside(self, *command, **options):
        done = subprocess.run(self._enter(*command), capture_output=True, text=True, check=True, timeout=10, **options)
        return done.stdout

    def start(self):
        socket = self.run / "vcubev-routes" / "socket"
        socket.unlink(missing_ok=True)
        self.service = subprocess.Popen(
            self._enter(sys.executable, "-I", self.directory / "routes.py"), stdout=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 10
        while not (socket.exists() and self.ask("del", "10.100.1.99", "hosts-udp").returncode == 0):
            assert time.monotonic() < deadline and self.service.poll() is None, "it does not start"
            time.sleep(0.02)

    def stop(self):
        if self.service is not None:
            self.service.kill()
            self.service.wait()
            self.service.stdout.close()
            self.service = None

    def ask(self, *words):
        # A Unix socket is reached from any network namespace.
        command = ["perl", self.directory / "ask-routes", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10)

    def routes(self):
        """Return destination -> (device, metric) of the hosts' table, both families; each may be there once."""
        found = {}
        for family in ("-4", "-6"):
            shown = f"shown=$(ip -N {family} -j route show table 100 2>/dev/null) && echo \"$shown\" || echo '[]'"
            for route in json.loads(self.inside("sh", "-c", shown)):
                assert route["dst"] not in found and route["protocol"] == "99", route
                found[route["dst"]] = (route["dev"], route["metric"])
        return found

    def end(self):
        self.stop()
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = Machine(tmp_path_factory.mktemp("routes"))
    yield made
    made.end()


@pytest.fixture
def hub(machine):
    """The hub with no host on it."""
    machine.stop()
    for family in ("-4", "-6"):
        machine.inside("sh", "-c", f"ip {family} route flush table 100 2>/dev/null || :")
    for device in DEVICES:
        for session in (machine.run / f"vcubev-{device}").iterdir():
            session.unlink()
    machine.start()
    return machine


def both(place):
    return {"10.100.1.1": place, "fd5c:ab1e:0:1::1": place}


def test_a_host_has_one_route_of_each_family_wherever_it_came_by_last(hub):
    for device, number in [
        ("hosts-udp", 2),
        ("hosts-udp", 2),
        ("hosts-tcp", 7),
        ("hosts-udp", HIGHEST),
        ("hosts-tcp", 1),
    ]:
        assert hub.ask("add", "10.100.1.1", device, str(number)).returncode == 0
        assert hub.routes() == both((device, number))


def test_a_host_that_claimed_its_traffic_meanwhile_leaves_no_route_behind(hub):
    hub.ask("add", "10.100.1.1", "hosts-udp", "2")
    for family, host in (("-4", "10.100.1.1/32"), ("-6", "fd5c:ab1e:0:1::1/128")):  # as the hub's agent does
        hub.inside("ip", family, "-batch", "-", input=f"route add {host} dev hosts-udp table 100 proto 99 metric 9")
    assert hub.ask("add", "10.100.1.1", "hosts-udp", "9").returncode == 0
    assert hub.routes() == both(("hosts-udp", 9))
    assert hub.ask("del", "10.100.1.1", "hosts-udp").returncode == 0
    assert hub.routes() == {}


def test_a_host_that_went_by_one_device_keeps_the_route_by_the_other(hub):
    hub.ask("add", "10.100.1.1", "hosts-tcp", "2")
    assert hub.ask("del", "10.100.1.1", "hosts-udp").returncode == 0
    assert hub.routes() == both(("hosts-tcp", 2))


REFUSED = {
    "a hub's address": "add 10.100.0.1 hosts-udp 2",
    "a network": "add 10.100.1.0 hosts-udp 2",
    "no member's address": "add 10.100.1.255 hosts-udp 2",
    "an address outside": "add 10.101.1.1 hosts-udp 2",
    "the internet": "add 0.0.0.0/0 hosts-udp 2",
    "a prefix": "add 10.100.1.1/24 hosts-udp 2",
    "an octal number": "add 10.100.01.1 hosts-udp 2",
    "a device that is not the hosts'": "add 10.100.1.1 link2 2",
    "the loopback": "add 10.100.1.1 lo 2",
    "number 0, which BIRD would prefer to nothing": "add 10.100.1.1 hosts-udp 0",
    "a number that turns round": f"add 10.100.1.1 hosts-udp {HIGHEST + 1}",
    "a negative number": "add 10.100.1.1 hosts-udp -1",
    "no number": "add 10.100.1.1 hosts-udp",
    "a word more": "add 10.100.1.1 hosts-udp 2 table 254",
    "two requests": "add 10.100.1.1 hosts-udp 2\ndel 10.100.1.1 hosts-udp",
    "another verb": "flush 10.100.1.1 hosts-udp",
    "an IPv6 address": "add fd5c:ab1e:0:1::1 hosts-udp 2",
    "removing a hub's": "del 10.100.0.1 hosts-udp",
    "removing by another device": "del 10.100.1.1 link2",
    "nothing": "",
    "a long one": "add 10.100.1.1 hosts-udp 2" + " " * 500,
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_whoever_takes_over_openvpn_has_no_other_route_from_here(hub, request_):
    hub.ask("add", "10.100.2.2", "hosts-udp", "5")
    before = hub.routes()
    assert hub.ask(request_).returncode != 0
    assert hub.routes() == before
    assert hub.ask("add", "10.100.2.2", "hosts-udp", "5").returncode == 0, "the next one is served"


def test_a_host_is_refused_at_once_where_nobody_writes_routes(hub):
    hub.stop()
    began = time.monotonic()
    assert hub.ask("add", "10.100.1.1", "hosts-udp", "2").returncode != 0
    assert time.monotonic() - began < 0.2, "OpenVPN carries nothing meanwhile"


def test_a_writer_that_hangs_holds_openvpn_up_for_a_moment_only(hub):
    os.kill(hub.service.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert hub.ask("add", "10.100.1.1", "hosts-udp", "2").returncode != 0
    assert time.monotonic() - began < 0.6
    os.kill(hub.service.pid, signal.SIGCONT)


def test_routes_of_hosts_that_went_while_nobody_wrote_are_withdrawn_at_the_next_start(hub):
    for host in ("10.100.1.1", "10.100.2.2"):
        (hub.run / "vcubev-hosts-udp" / host).touch()
        assert hub.ask("add", host, "hosts-udp", "2").returncode == 0
    hub.stop()
    (hub.run / "vcubev-hosts-udp" / "10.100.2.2").unlink()
    hub.start()
    assert hub.routes() == both(("hosts-udp", 2))
