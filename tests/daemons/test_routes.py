"""Who writes hosts' routes on a hub, on a real kernel: the routes of hosts, and not one word more."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from components.model import render
from tests.agents.loading import load
from tests.agents.test_hub import told
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
        self.run = directory / "run"
        paths = {"/etc/vcubev": str(directory), "/run": str(self.run)}
        for name in (f"vcubev-{device}" for device in DEVICES):
            (self.run / name).mkdir(parents=True)
        (self.run / "vcubev-routes").mkdir()
        (directory / "hub.json").write_text(
            render.hub_files(HUB, TOPOLOGY.overlay, "203.0.113.1")["/etc/vcubev/hub.json"].content
        )
        for device in DEVICES:
            (directory / f"{device}.conf").touch()
        for part in ("routes", "doors", "bird", "kernel", "notify", "plan"):
            text = (TEMPLATES / "agents" / f"{part}.py").read_text()
            for old, new in paths.items():
                text = text.replace(f'"{old}', f'"{new}')
            (directory / f"{part}.py").write_text(text)
        self.directory, self.service = directory, None
        hold = ["unshare", "--map-root-user", *NAMESPACES, "sh", "-c", "echo ready; exec sleep 600"]
        self._holder = subprocess.Popen(hold, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        links = [f"tuntap add dev {device} mode tun\nlink set {device} up" for device in (*DEVICES, "link2")]
        self.inside("ip", "-batch", "-", input="\n".join(links))
        (self.run / "bird").mkdir()
        self._bird = socket.socket(socket.AF_UNIX)
        self._bird.bind(str(self.run / "bird" / "bird.ctl"))
        self._bird.listen()
        self.bird()
        threading.Thread(target=self._answer, daemon=True).start()

    def _enter(self, *command):
        return ["nsenter", "-t", str(self._holder.pid), *NAMESPACES, "--preserve-credentials", *map(str, command)]

    def inside(self, *command, **options):
        done = subprocess.run(self._enter(*command), capture_output=True, text=True, check=True, timeout=10, **options)
        return done.stdout

    def _answer(self):
        """Be BIRD at its control socket: greet, and answer each question alike."""
        with contextlib.suppress(OSError):  # the tests' end
            while True:
                asker, _ = self._bird.accept()
                with asker, contextlib.suppress(OSError):
                    asker.sendall(b"0001 BIRD 2.0.12 ready.\n")
                    while asker.recv(1000):
                        asker.sendall(self.answer)

    def bird(self, own=None, others=()):
        """Have BIRD say of each host: its number here, and at other hubs."""
        self.answer = f"{told(own, others)}\n0000 \n".encode()

    @property
    def fifo(self):
        return self.run / "vcubev-routes" / "sessions"

    def start(self):
        self.fifo.unlink(missing_ok=True)
        with (self.directory / "log").open("w") as log:
            self.service = subprocess.Popen(self._enter(sys.executable, "-I", self.directory / "routes.py"), stdout=log)
        deadline = time.monotonic() + 10
        while not self.fifo.is_fifo():
            assert time.monotonic() < deadline and self.service.poll() is None, "it does not start"
            time.sleep(0.02)
        self.heard()

    def stop(self):
        if self.service is not None:
            self.service.kill()
            self.service.wait()
            self.service = None

    def say(self, lines):
        """Say lines as the hooks do."""
        with open(os.open(self.fifo, os.O_WRONLY), "w") as fifo:
            fifo.write(f"{lines}\n")

    def heard(self):
        """Wait until all that was said is done; return what it has printed."""
        mark = f"mark {time.monotonic_ns()}"
        self.say(mark)
        deadline = time.monotonic() + 5
        while mark not in (told := (self.directory / "log").read_text()):
            assert time.monotonic() < deadline and self.service.poll() is None
            time.sleep(0.005)
        return told.partition(f"not done: b'{mark}")[0]

    def come(self, host, device):
        (self.run / f"vcubev-{device}" / host).write_text("host.web-1\n")
        self.say(f"come {host} {device}")
        self.heard()

    def go(self, host, device):
        (self.run / f"vcubev-{device}" / host).unlink()
        self.say(f"go {host} {device}")
        self.heard()

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
        self._bird.close()
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
    machine.bird()
    for family in ("-4", "-6"):
        machine.inside("sh", "-c", f"ip {family} route flush table 100 2>/dev/null || :")
    for device in DEVICES:
        for session in (machine.run / f"vcubev-{device}").iterdir():
            session.unlink()
    machine.start()
    return machine


def both(place):
    return {"10.100.1.1": place, "fd5c:ab1e:0:1::1": place}


NUMBERS = [
    ((None, ()), 2, "the first place has room for a spare below it"),
    ((None, (2,)), 1, "a spare is below the place that has the traffic"),
    ((None, (4, 7)), 6, "a spare is above every place of before"),
    ((None, (1,)), 1, "no number is below 1"),
    ((None, (HIGHEST + 9,)), HIGHEST, "none turns round"),
    ((5, (4,)), 5, "who comes again keeps its place"),
    ((3, (8,)), 3, "also as a spare"),
]


@pytest.mark.parametrize("known, number, reason", NUMBERS)
def test_a_host_that_comes_is_a_spare_until_it_claims_its_traffic(hub, known, number, reason):
    hub.bird(*known)
    hub.come("10.100.1.1", "hosts-udp")
    assert hub.routes() == both(("hosts-udp", number)), reason


def test_a_host_has_one_route_of_each_family_wherever_it_came_by_last(hub):
    for device, number in [("hosts-udp", 2), ("hosts-udp", 2), ("hosts-tcp", 7), ("hosts-udp", 9), ("hosts-tcp", 1)]:
        hub.bird(own=number)
        hub.come("10.100.1.1", device)
        assert hub.routes() == both((device, number))


def test_a_host_that_claimed_its_traffic_meanwhile_leaves_no_route_behind(hub):
    hub.come("10.100.1.1", "hosts-udp")
    for family, host in (("-4", "10.100.1.1/32"), ("-6", "fd5c:ab1e:0:1::1/128")):  # as the hub's agent does
        hub.inside("ip", family, "-batch", "-", input=f"route add {host} dev hosts-udp table 100 proto 99 metric 9")
    hub.bird(own=9)
    hub.come("10.100.1.1", "hosts-udp")
    assert hub.routes() == both(("hosts-udp", 9))
    hub.go("10.100.1.1", "hosts-udp")
    assert hub.routes() == {}


def test_a_host_that_went_by_one_device_keeps_the_route_by_the_other(hub):
    hub.come("10.100.1.1", "hosts-udp")
    hub.come("10.100.1.1", "hosts-tcp")
    hub.go("10.100.1.1", "hosts-udp")
    assert hub.routes() == both(("hosts-tcp", 2))


def test_a_host_whose_last_device_went_is_reached_by_the_one_before(hub):
    hub.come("10.100.1.1", "hosts-tcp")
    hub.come("10.100.1.1", "hosts-udp")
    hub.go("10.100.1.1", "hosts-udp")
    assert hub.routes() == both(("hosts-tcp", 2))


def test_a_host_that_went_and_came_again_before_anybody_looked_keeps_its_route(hub):
    hub.come("10.100.1.1", "hosts-udp")
    hub.bird(own=2)
    hub.say("go 10.100.1.1 hosts-udp\ncome 10.100.1.1 hosts-udp")  # its file is the new session's
    hub.heard()
    assert hub.routes() == both(("hosts-udp", 2))


def test_a_host_that_came_and_went_before_anybody_looked_has_no_route(hub):
    hub.say("come 10.100.1.1 hosts-udp\ngo 10.100.1.1 hosts-udp")
    hub.heard()
    assert hub.routes() == {}


NOT_DONE = {
    "a hub's address": "come 10.100.0.1 hosts-udp",
    "a network": "come 10.100.1.0 hosts-udp",
    "no member's address": "come 10.100.1.255 hosts-udp",
    "an address outside": "come 10.101.1.1 hosts-udp",
    "the internet": "come 0.0.0.0/0 hosts-udp",
    "a prefix": "come 10.100.1.1/24 hosts-udp",
    "an octal number": "come 10.100.01.1 hosts-udp",
    "a way out of the directory": "come ../../10.100.1.1 hosts-udp",
    "a device that is not the hosts'": "come 10.100.1.1 link2",
    "the loopback": "come 10.100.1.1 lo",
    "a device that is none": "come 10.100.1.1 hosts-udp9",
    "a number of its own": "come 10.100.1.1 hosts-udp 16000",
    "no device": "come 10.100.1.1",
    "another verb": "flush 10.100.1.1 hosts-udp",
    "an IPv6 address": "come fd5c:ab1e:0:1::1 hosts-udp",
    "removing a hub's": "go 10.100.0.1 hosts-udp",
    "removing by another device": "go 10.100.1.1 link2",
    "nothing": "",
    "a long one": "come 10.100.1.1 hosts-udp" + " " * 5000,
    "an endless one": "x" * 200_000,
    "no text": "come \u00e9 hosts-udp",
}


@pytest.mark.parametrize("line", NOT_DONE.values(), ids=NOT_DONE)
def test_whoever_takes_over_openvpn_has_no_other_route_from_here(hub, line):
    hub.come("10.100.2.2", "hosts-udp")
    before = hub.routes()
    address = line.split(" ")[1] if " " in line else ""
    if address and "/" not in address:  # with a session: it may write what it likes in that directory
        (hub.run / "vcubev-hosts-udp" / address).touch()
    hub.say(line)
    assert "not done" in hub.heard()
    assert hub.routes() == before
    hub.come("10.100.2.3", "hosts-udp")
    assert hub.routes().keys() - before.keys() == {"10.100.2.3", "fd5c:ab1e:0:2::3"}, "the next one is served"


def test_a_host_has_its_route_where_bird_is_away(hub):
    hub.answer = b"9001 not today\n"
    hub.come("10.100.1.1", "hosts-udp")
    assert hub.routes() == both(("hosts-udp", 2))


def test_what_nobody_was_here_to_hear_of_is_put_right_at_the_next_start(hub):
    hub.come("10.100.1.1", "hosts-udp")
    hub.come("10.100.2.2", "hosts-udp")
    hub.stop()
    (hub.run / "vcubev-hosts-udp" / "10.100.2.2").unlink()
    for name in ("10.100.3.3", "10.100.3.3.serial", "10.100.3.3.names", "management.sock"):
        (hub.run / "vcubev-hosts-tcp" / name).touch()
    hub.start()
    ldap = {"10.100.3.3": ("hosts-tcp", 2), "fd5c:ab1e:0:3::3": ("hosts-tcp", 2)}
    assert hub.routes() == both(("hosts-udp", 2)) | ldap
