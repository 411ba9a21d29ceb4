"""What lies between a host and its hubs: networks that let no UDP through, NAT, narrow links."""

import time

import pytest

from tests.lab.faults.watching import WATCHED

pytestmark = [pytest.mark.lab, pytest.mark.alone]
HOST, PRIVATE, FAR = "web-1", "db-1", "web-3"
NO_UDP = "web-4"
TCP_SECONDS = 15  # two hubs are tried by UDP first, each for 4 s
UDP_SECONDS = 120  # UDP is tried every 60 s, one tunnel after the other
BULK_BYTES = 1_000_000
# What a tunnel's device takes; and more, which is sent in pieces. Each less IP's and ICMP's headers.
PING_BYTES = {"-4": (1400 - 28, 3000), "-6": (1400 - 48, 3000)}
# Both ends of a bulk transfer: each sends the same and ends when the other's has come.
BULK = f"""
import socket, sys, threading
own, peer = sys.argv[1:]
family = socket.AF_INET6 if ":" in own else socket.AF_INET
socket.setdefaulttimeout(8)
if peer:
    made = socket.socket(family)
    made.bind((own, 0))
    made.connect((peer, 7008))
else:
    listener = socket.create_server((own, 7008), family=family)
    print("ready", flush=True)
    made = listener.accept()[0]
threading.Thread(target=made.sendall, args=(bytes({BULK_BYTES}),), daemon=True).start()
came = 0
while came < {BULK_BYTES}:
    part = made.recv(65536)
    assert part, "closed"
    came += len(part)
made.sendall(b"all")
while came < {BULK_BYTES} + 3 and (part := made.recv(65536)):
    came += len(part)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def unblocked():
    """When a host's UDP was let through again. It takes its time, so other tests come between."""
    return {}


def lacks(world, transport):
    """Return the tunnels of the host without UDP that do not go by a transport."""
    paths = world.state(NO_UDP)["paths"]
    return [path for path in paths.values() if not path["alive"] or path["transport"] != transport]


def test_a_host_whose_network_lets_no_udp_through_goes_by_tcp(world, unblocked):
    def block():
        world.lab("block", NO_UDP, "udp")
        waited = world.until(lambda: lacks(world, "tcp"), TCP_SECONDS, "not by TCP")
        world.told.append(f"path: no UDP: both tunnels by TCP after {waited:.1f} s")

    done = world.measure("path: no UDP", block, after=TCP_SECONDS)
    own = [pair for pair in done.outage_ms if NO_UDP in (pair.sender, pair.receiver)]
    assert own and max(done.outage_ms[pair] for pair in own) < 1000 * (TCP_SECONDS - 1), done
    done.without(own).check()
    world.agree()
    world.lab("restore", NO_UDP)
    unblocked["moment"] = time.monotonic()


def test_a_host_that_loses_packets_does_not_change_its_way_over_and_over(world):
    # One that may go back to its own site's hub, being elsewhere, would be right to.
    host = next(host for host in WATCHED if host != NO_UDP and world.is_home(host))
    lose = lambda: world.lab("drop", host, "--percent", "20")  # noqa: E731
    done = world.measure("path: 20 % lost for 60 s", lose, after=60).check(may_lag=True)
    assert (done.switches[host] or 0) <= 1, f"path changes: {done.switches}"
    world.agree()


def test_a_host_goes_on_when_its_nat_maps_it_anew(world):
    world.measure("path: NAT rebinding", lambda: world.lab("rebind", PRIVATE)).check()
    world.agree()


@pytest.mark.parametrize("mtu", ["1500", "1492", "1400", "1280"])
def test_all_sizes_pass_over_links_that_are_silently_narrow(world, mtu):
    if mtu != "1500":
        for name in (HOST, world.hubs_of(HOST)[0]):
            world.lab("mtu", name, mtu, "--silent")
    for family, sizes in PING_BYTES.items():
        address = world.hosts[FAR]["ipv4" if family == "-4" else "ipv6"]
        for size in sizes:
            # Of what is too large for the way to another site the first only brings word of that (RFC 8201), and so
            # does its first answer.
            world.run(HOST, f"ping {family} -q -c 3 -i 0.2 -W 1 -s {size} {address}", check=False)
            world.run(HOST, f"ping {family} -q -c 3 -i 0.1 -W 1 -s {size} {address} | grep -q ' 0% packet loss'")
    for family in ("ipv4", "ipv6"):
        own, peer = world.hosts[HOST][family], world.hosts[FAR][family]
        server = world.start(FAR, "python3", "-c", BULK, peer, "")
        assert server.stdout.readline() == "ready\n", server.communicate()[1]
        client = world.start(HOST, "python3", "-c", BULK, own, peer)
        for end in (client, server):
            said, problem = end.communicate(timeout=30)
            assert said == "done\n", f"{family}: {problem}"
    world.agree()


def test_a_host_that_went_by_tcp_goes_by_udp_when_its_network_lets_it_through_again(world, unblocked):
    if "moment" not in unblocked:
        pytest.skip("needs the test with UDP blocked")
    left = unblocked["moment"] + UDP_SECONDS - time.monotonic()
    world.until(lambda: lacks(world, "udp"), max(1, left), "not by UDP")
    world.agree()
