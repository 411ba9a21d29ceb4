"""The names' daemon and the kernel's routes for real: what is in the files is answered, what leaves them is not."""

import json
import os
import shutil
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests import asking
from tests.agents.loading import AGENTS, load
from tests.rendering import MACHINES, ROOT, TOPOLOGY

table = load("table")
os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps daemons, out of a plain user's PATH
pytestmark = pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="dnsmasq is not installed")
DOMAIN, SERVERS = TOPOLOGY.overlay.domain, TOPOLOGY.overlay.names
SERVER = str(SERVERS.ipv4)
NAMESPACES = ["--user", "--net"]
LIVE = """
import sys
sys.path.insert(0, sys.argv[1])
from ipaddress import IPv4Network
from live import Live
live = Live(IPv4Network("10.100.0.0/16"))
for line in sys.stdin:
    print(live.changed(), *sorted(live.addresses()), flush=True)
"""


class Hub:
    """A network namespace with a hub's addresses for names, and its daemon in it; needs no root."""

    def __init__(self, directory):
        self.hosts = directory / "hosts"
        self.hosts.mkdir()
        config = MACHINES["oregon/a"]["/etc/vcubev/dns.conf"].content
        (directory / "dns.conf").write_text(config.replace("/run/vcubev-names/hosts", str(self.hosts)))
        hold = ["unshare", "--map-root-user", *NAMESPACES, "sh", "-c", "echo ready; exec sleep 600"]
        self._holder = subprocess.Popen(hold, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        self.inside("ip", "link", "set", "lo", "up")
        for address in (f"{SERVERS.ipv4}/32", f"{SERVERS.ipv6}/128"):
            self.inside("ip", "address", "add", address, "dev", "lo")
        self.inside("sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=53")
        # As on a machine: it never was root.
        command = ("unshare", "--user", "--map-user=1000", "dnsmasq", "--keep-in-foreground")
        self.daemon = subprocess.Popen(self.enter(*command, f"--conf-file={directory}/dns.conf", "--pid-file"))

    def enter(self, *command):
        return ["nsenter", "-t", str(self._holder.pid), *NAMESPACES, "--preserve-credentials", *map(str, command)]

    def inside(self, *command):
        return subprocess.run(self.enter(*command), capture_output=True, text=True, check=True, timeout=10).stdout

    def ask(self, name, kind="A", *how, server=SERVER):
        told = subprocess.run(
            self.enter(sys.executable, "-I", ROOT / "tests/asking.py", server, name, kind, *how),
            capture_output=True,
            text=True,
            timeout=10,
        )
        if told.returncode:
            return told.stderr.splitlines()[-1], False, []
        code, truncated, records = json.loads(told.stdout)
        return code, truncated, sorted(value for _, _, value in records)

    def until(self, expected, *question, **options):
        deadline = time.monotonic() + 10
        while (seen := self.ask(*question, **options)) != expected:
            assert time.monotonic() < deadline and self.daemon.poll() is None, (seen, expected)
            time.sleep(0.05)

    def put(self, address, host):
        ipv6 = load("plan").ipv6_of(IPv4Address(address), TOPOLOGY.overlay.ipv4, TOPOLOGY.overlay.ipv6)
        (self.hosts / f".{address}").write_text(table.lines((address, ipv6), [host], DOMAIN))
        (self.hosts / f".{address}").rename(self.hosts / address)

    def end(self):
        for process in (self.daemon, self._holder):
            process.kill()
            process.wait()
        self._holder.stdout.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    made = Hub(tmp_path_factory.mktemp("names"))
    made.until((asking.NO_SUCH_NAME, False, []), f"nobody.{DOMAIN}")
    yield made
    made.end()


@pytest.fixture
def empty(hub):
    for file in hub.hosts.iterdir():
        file.unlink()
    hub.until((asking.NO_SUCH_NAME, False, []), f"web.{DOMAIN}")
    return hub


def test_a_host_is_found_by_its_names_its_role_and_its_addresses_in_both_families(empty):
    empty.put("10.100.1.1", table.Named("web-1", "paris", "web", True))
    empty.put("10.100.1.2", table.Named("web-2", "tokyo", "web", False))
    both = ["10.100.1.1", "10.100.1.2"], ["fd5c:ab1e:0:1::1", "fd5c:ab1e:0:1::2"]
    empty.until((0, False, both[0]), f"web.{DOMAIN}")
    assert empty.ask(f"web.{DOMAIN}", "AAAA") == (0, False, both[1])
    for name in ("web-1.paris", "web-1"):
        assert empty.ask(f"{name}.{DOMAIN}") == (0, False, both[0][:1])
        assert empty.ask(f"{name}.{DOMAIN}", "AAAA", server=str(SERVERS.ipv6)) == (0, False, both[1][:1])
    assert empty.ask(f"web-2.tokyo.{DOMAIN}") == (0, False, both[0][1:])
    assert empty.ask(f"web-2.{DOMAIN}")[0] == asking.NO_SUCH_NAME, "a role has this name"
    for address in ("10.100.1.1", "fd5c:ab1e:0:1::1"):
        pointer = IPv4Address(address).reverse_pointer if "." in address else _pointer6(address)
        assert empty.ask(pointer, "PTR") == (0, False, [f"web-1.paris.{DOMAIN}"])


def _pointer6(address):
    return IPv6Address(address).reverse_pointer


def test_a_host_that_goes_is_out_and_one_that_changes_is_as_it_is_now(empty):
    empty.put("10.100.1.1", table.Named("web-1", "paris", "web", True))
    empty.put("10.100.1.2", table.Named("web-2", "paris", "web", True))
    empty.until((0, False, ["10.100.1.1", "10.100.1.2"]), f"web.{DOMAIN}")
    (empty.hosts / "10.100.1.1").unlink()
    empty.until((0, False, ["10.100.1.2"]), f"web.{DOMAIN}")
    assert empty.ask(f"web-1.{DOMAIN}")[0] == asking.NO_SUCH_NAME
    assert empty.ask(IPv4Address("10.100.1.1").reverse_pointer, "PTR")[0] == asking.NO_SUCH_NAME
    empty.put("10.100.1.2", table.Named("shop", "tokyo", "web", True))
    empty.until((0, False, ["10.100.1.2"]), f"shop.tokyo.{DOMAIN}")
    assert empty.ask(f"web-2.paris.{DOMAIN}")[0] == asking.NO_SUCH_NAME


def test_a_role_of_many_hosts_is_whole_by_tcp(empty):
    for number in range(1, 255):
        empty.put(f"10.100.1.{number}", table.Named(f"web-{number}", "paris", "web", True))
    empty.until((0, False, ["10.100.1.254"]), f"web-254.{DOMAIN}")
    assert empty.ask(f"web.{DOMAIN}")[1], "more than one packet holds"
    assert len(empty.ask(f"web.{DOMAIN}", "A", "tcp")[2]) == 254


def test_it_asks_nobody_and_tells_nothing_of_itself_or_its_machine(empty):
    for name in ("debian.org", "localhost", "web", "internal", "1.0.0.127.in-addr.arpa"):
        assert empty.ask(name)[0] == asking.REFUSED, name
    assert empty.ask("version.bind", "TXT")[0] == asking.REFUSED
    for pointer in ("9.9.100.10.in-addr.arpa", _pointer6("fd5c:ab1e:0:9::9")):
        assert empty.ask(pointer, "PTR")[0] == asking.NO_SUCH_NAME, "of the overlay, and nobody has it"


def test_the_kernels_routes_say_who_is_live_and_tell_of_each_change(hub):
    asked = subprocess.Popen(
        hub.enter(sys.executable, "-I", "-c", LIVE, AGENTS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def look():
        asked.stdin.write("\n")
        asked.stdin.flush()
        changed, *addresses = asked.stdout.readline().split()
        return changed == "True", addresses

    hub.inside("ip", "tuntap", "add", "some", "mode", "tun")
    hub.inside("ip", "link", "set", "some", "up")
    look()
    assert look() == (False, [])
    for route in ("10.100.1.1", "10.100.0.2", "10.100.2.0/24", "10.101.1.1", "10.100.1.3 table 100"):
        hub.inside("ip", "route", "add", *route.split(), "dev", "some")
    hub.inside("ip", "route", "add", "unreachable", "10.100.1.4")
    assert look() == (True, ["10.100.0.2", "10.100.1.1"]), "single addresses of the overlay in the main table"
    assert look() == (False, ["10.100.0.2", "10.100.1.1"])
    hub.inside("ip", "route", "del", "10.100.1.1", "dev", "some")
    assert look() == (True, ["10.100.0.2"])
    batch = "".join(f"route add 10.100.{n // 200 + 3}.{n % 200 + 1} dev some\n" for n in range(8000))
    subprocess.run(hub.enter("ip", "-batch", "-"), input=batch, text=True, check=True, timeout=30)
    changed, addresses = look()
    assert changed and len(addresses) == 8001, "also when the kernel had more to tell than was read"
    hub.inside("ip", "link", "del", "some")
    asked.kill()
    asked.wait()
    asked.stdin.close()
    asked.stdout.close()
