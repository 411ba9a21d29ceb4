"""The machines' packet filters in a real kernel: nothing of the overlay's leaves in the clear, whatever routes say."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.rendering import MACHINES, TOPOLOGY

HOST, HUB = TOPOLOGY.hosts[0], TOPOLOGY.hubs[0]
PEER = next(host for host in TOPOLOGY.hosts if host.role != HOST.role)
# Within a user and a network namespace of its own. Prints what passes at the far end of a device when the machine sends
# to another member by it.
PROBE = """
import json, os, socket, subprocess, sys
rules, device, own, peers = json.loads(sys.argv[1])

def ip(*words):
    subprocess.run(["ip", *words], check=True)

ip("link", "set", "lo", "up")
ip("link", "add", device, "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "far")
for end in (device, "far"):
    with open(f"/proc/sys/net/ipv6/conf/{end}/accept_dad", "w") as accept:
        accept.write("0")
    ip("link", "set", end, "up")
for address, peer in zip(own, peers):
    length, ready = ("/128", ["nodad"]) if ":" in address else ("/32", [])
    ip("address", "add", address + length, "dev", "lo", *ready)
    ip("route", "add", peer + length, "dev", device, "src", address)
    ip("neigh", "add", peer, "lladdr", "02:00:00:00:00:02", "dev", device)
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sniffer.bind(("far", 3))
sniffer.settimeout(0.3)
refused = []
for peer in peers:
    with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(b"plain words", (peer, 5000))
        except PermissionError:
            refused.append(peer)
seen = 0
try:
    while True:
        seen += b"plain words" in sniffer.recv(2000)
except TimeoutError:
    print(json.dumps([seen, len(refused)]))
"""


def passed(rules, member, device):
    """Return how many of two packets, IPv4 and IPv6, are seen beyond a device, and how many the kernel refused."""
    own, peers = ([str(m.address.ipv4), str(m.address.ipv6)] for m in (member, PEER))
    order = json.dumps([rules, device, own, peers])
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", PROBE, order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
@pytest.mark.parametrize("member, tunnel", [(HOST, "path1"), (HUB, "hosts-udp"), (HUB, "link2")])
def test_a_route_that_a_neighbour_brings_never_makes_overlay_traffic_leave_in_the_clear(member, tunnel):
    """A router advertisement or a DHCP answer may bring one more specific than the tunnel's (CVE-2024-3661)."""
    rules = MACHINES[getattr(member, "key", member.name)]["/etc/nftables.conf"].content
    assert passed(rules, member, tunnel) == (2, 0)
    assert passed("", member, "eth0") == (2, 0), "without the filter it does"
    assert passed(rules, member, "eth0") == (0, 2)
