"""Two hubs' agents for names, each in a network of its own with the kernel's routes, and a link between them."""

import json
import subprocess
import sys
import time

import pytest

from components.model import render
from tests.agents.loading import AGENTS, load
from tests.rendering import TOPOLOGY

DOMAIN = TOPOLOGY.overlay.domain
HUBS = TOPOLOGY.hubs
WEB_1, WEB_2 = "10.100.1.1", "10.100.1.2"
SECONDS = 3  # all that is waited for takes less than one


class Hub:
    """A hub's network namespace, with what vcubev-names reads and writes below a directory. Needs no root."""

    def __init__(self, view, directory, beside=None):
        self.view, self.root = view, directory
        self.hosts, self.sessions = directory / "run/vcubev-names/hosts", directory / "run/vcubev-hosts-udp"
        self.hosts.mkdir(parents=True)
        self.sessions.mkdir()
        files = render.hub_files(view, TOPOLOGY.overlay, "203.0.113.1")
        (directory / "hosts-udp.conf").touch()
        (directory / "names.json").write_text(files["/etc/vcubev/names.json"].content)
        for part in ("names.py", "live.py", "table.py", "plan.py", "doors.py"):
            text = (AGENTS / part).read_text().replace('"/etc/vcubev', f'"{directory}')
            text = text.replace('"/run', f'"{directory}/run')
            (directory / part).write_text(text)
        # The second one's user namespace is the first one's: a link may lie between two networks of one owner only.
        owner = ["unshare", "--map-root-user", "--user"] if beside is None else beside.enter("unshare")
        hold = [*owner, "--net", "sh", "-c", "echo ready; exec sleep 600"]
        self.holder = subprocess.Popen(hold, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.agent = None
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{view.address.ipv4}/32", "dev", "lo")

    def enter(self, *command):
        return ["nsenter", "-t", str(self.holder.pid), "--user", "--net", "--preserve-credentials", *map(str, command)]

    def ip(self, *words):
        subprocess.run(self.enter("ip", *words), check=True, capture_output=True, text=True, timeout=10)

    def start(self):
        self.agent = subprocess.Popen(self.enter(sys.executable, "-I", self.root / "names.py"))

    def stop(self):
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()
            self.agent = None

    def take(self, address, host):
        """Let a host connect: what client-connect leaves, and its route."""
        names = f"DNS:{host}.paris.{DOMAIN}, DNS:{host}.{DOMAIN}, DNS:web.{DOMAIN}, IP Address:{address}\n"
        (self.sessions / f"{address}.names").write_text(names)

    def route(self, address, device):
        self.ip("route", "replace", f"{address}/32", "dev", device, "src", str(self.view.address.ipv4))

    def answered(self):
        """Return address -> the first name of each live host."""
        lines = [file.read_text().split() for file in self.hosts.iterdir() if not file.name.startswith(".")]
        return {words[0]: words[1].removesuffix(f".{DOMAIN}") for words in lines if words}

    def until(self, expected):
        deadline = time.monotonic() + SECONDS
        while (seen := self.answered()) != expected:
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)


@pytest.fixture
def hubs(tmp_path):
    one = Hub(HUBS[0], tmp_path / "one")
    other = Hub(HUBS[1], tmp_path / "other", one)
    # As the links' devices are: no address of their own, no neighbour to ask for.
    one.ip("link", "add", "link2", "type", "veth", "peer", "name", "link1", "netns", str(other.holder.pid))
    for hub, device in ((one, "link2"), (other, "link1")):
        hub.ip("link", "set", device, "arp", "off", "address", "02:00:00:00:00:01", "up")
    one.route(other.view.address.ipv4, "link2")
    other.route(one.view.address.ipv4, "link1")
    for hub in (one, other):
        hub.start()
    yield one, other
    for hub in (one, other):
        hub.stop()
        hub.holder.kill()
        hub.holder.wait()
        hub.holder.stdout.close()


def test_a_host_that_connects_to_one_hub_is_known_to_the_other_until_its_route_goes(hubs):
    one, other = hubs
    one.take(WEB_1, "web-1")
    one.route(WEB_1, "lo")
    other.route(WEB_1, "link1")
    for hub in hubs:
        hub.until({WEB_1: "web-1.paris"})
    other.ip("route", "del", f"{WEB_1}/32")
    other.until({})
    one.until({WEB_1: "web-1.paris"})


def test_a_hub_that_starts_anew_knows_all_hosts_again_and_forgets_none_meanwhile(hubs):
    one, other = hubs
    one.take(WEB_1, "web-1")
    one.route(WEB_1, "lo")
    other.route(WEB_1, "link1")
    other.until({WEB_1: "web-1.paris"})
    other.stop()
    other.start()
    end = time.monotonic() + load("names").SETTLE_SECONDS + 1
    while time.monotonic() < end:
        assert other.answered() == {WEB_1: "web-1.paris"}
        time.sleep(0.01)
    other.stop()
    for file in other.hosts.iterdir():
        file.unlink()
    other.start()
    other.until({WEB_1: "web-1.paris"})


def test_a_hub_that_comes_back_is_told_what_it_missed(hubs):
    one, other = hubs
    one.ip("route", "del", f"{other.view.address.ipv4}/32")
    time.sleep(0.5)
    one.take(WEB_1, "web-1")
    one.route(WEB_1, "lo")
    one.until({WEB_1: "web-1.paris"})
    other.route(WEB_1, "link1")
    time.sleep(0.5)
    assert other.answered() == {}
    one.route(other.view.address.ipv4, "link2")
    other.until({WEB_1: "web-1.paris"})


FORGE = """
import json, socket, sys
sender, port, to, message = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
    talk.bind((sender, 0))
    talk.sendto(message.encode(), (to, int(port)))
"""


def test_a_hub_takes_no_name_from_a_host_and_none_that_is_a_hosts_of_its_own(hubs):
    one, other = hubs
    one.take(WEB_1, "web-1")
    for address in (WEB_1, WEB_2):
        one.route(address, "link2")
    one.until({WEB_1: "web-1.paris"})
    other.ip("address", "add", f"{WEB_2}/32", "dev", "lo")

    def say(sender, host):
        message = json.dumps({"ask": False, "hosts": {WEB_2: [host, "paris", "web", True]}})
        forged = (sender, "1196", str(one.view.address.ipv4), message)
        subprocess.run(other.enter(sys.executable, "-c", FORGE, *forged), check=True, timeout=10)
        time.sleep(0.5)
        return one.answered()

    assert say(WEB_2, "bank") == {WEB_1: "web-1.paris"}, "from a host, should the packet filter let it in"
    assert say(str(other.view.address.ipv4), "web-1") == {WEB_1: "web-1.paris"}
    assert say(str(other.view.address.ipv4), "web-2") == {WEB_1: "web-1.paris", WEB_2: "web-2.paris"}
