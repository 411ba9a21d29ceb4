"""What a host can do that is the mesh's own and has turned against it: root on it, with its keys and its tunnels."""

from __future__ import annotations

import re
import time

import pytest

from tests.lab.attacks import packets
from tests.lab.attacks.attacker import Journal, counted, loud, underlay, wire

pytestmark = pytest.mark.lab
ATTACKER, VICTIM = "web-1", "web-2"
CLAIM = b'{"claim": true, "nonce": "forged"}'
CLAIMS_PORT, BGP, BFD, BFD_ECHO = 1195, 179, 3784, 3785
# What BFD begins with: version 1, Down, three missed ones of 100 ms (RFC 5880 section 4.1).
BFD_DOWN = bytes.fromhex("20400318" + "00000001" + "00000000" + "000186a0" * 2 + "00000000")
# And goes on with: Up, to a session of the other side's. Of a beginning that it knows nothing of BIRD says nothing.
BFD_UP = bytes.fromhex("20c00318" + "00000001" + "00000009" + "000186a0" * 2 + "00000000")


@pytest.fixture
def carried(world):
    """The attacker's device and the hub that it goes to."""
    world.settle()
    return f"path{world.state(ATTACKER)['active']}", world.hubs_of(ATTACKER)[0]


def marked(number):
    return f"forged packet {number:03}".encode()


def test_nothing_passes_under_an_address_that_is_not_the_hosts_own(world, carried):
    """Sent past the host's own packet filter, as root can. The first two carry its own addresses, and arrive."""
    device, hub = carried
    own, other, gate, far = (
        member for member in (world.hosts[ATTACKER], world.hosts[VICTIM], world.hubs[hub], world.hosts["db-2"])
    )
    told_of = [
        *(member[family] for member in (other, far, gate) for family in ("ipv4", "ipv6")),
        *(world.hubs[name]["ipv4"] for name in world.hubs if name != hub),
        underlay(world, ATTACKER),
        underlay(world, hub),
        underlay(world, VICTIM),
    ]
    # What belongs to nobody, which OpenVPN drops without a word.
    silent = ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.5", "::1", "fe80::1", "fe80::2", "ff02::5"]
    sources = [own["ipv4"], own["ipv6"], *told_of, *silent]
    sent = {}
    for number, source in enumerate(sources):
        family = "ipv6" if ":" in source else "ipv4"
        if number % 2 and source in told_of and family == "ipv4":
            # A claim: it would draw the victim's traffic here.
            data = CLAIM + b" " * 20 + marked(number)
            sent[source] = packets.udp(source, gate[family], (4000, CLAIMS_PORT), data)
        else:
            sent[source] = packets.echo(source, far[family], marked(number))
    numbers = world.state(VICTIM)["number"]
    with loud(world, hub) as log, wire(world, hub, "hosts-udp") as arriving, wire(world, ATTACKER, device) as leaving:
        for packet in sent.values():
            leaving.send(packet)
        came = [frame for frame in arriving.came(1) if b"forged packet" in frame]
        refused = set(re.findall(r"bad source address from client \[(\S+)\], packet dropped", log.text()))
    passed = {source for number, source in enumerate(sources) if any(marked(number) in frame for frame in came)}
    assert passed == {own["ipv4"], own["ipv6"]}
    assert set(told_of) <= refused
    world.settle()
    assert world.state(VICTIM)["number"] == numbers, "somebody else claimed its traffic"


def test_a_host_can_speak_no_routing_protocol_to_a_hub(world, carried):
    device, hub = carried
    own, gate = world.hosts[ATTACKER], world.hubs[hub]
    link_local = f"fe80::{gate['id']:x}"
    routes = "birdc show route; birdc show protocols | grep -c Established"
    before_routes = world.run(hub, routes)
    ports = f"{BGP}, {BFD}, {BFD_ECHO}, 4784"
    match = f'iifname "hosts-*" meta l4proto {{ tcp, udp }} th dport {{ {ports} }}'
    with counted(world, hub, match) as counter, wire(world, ATTACKER, device) as leaving:
        for source, target in ((own["ipv4"], gate["ipv4"]), (own["ipv6"], gate["ipv6"]), (own["ipv6"], link_local)):
            for number in range(5):
                leaving.send(packets.tcp(source, target, (5000 + number, BGP), packets.SYN))
                for port in (BFD, BFD_ECHO, 4784):
                    leaving.send(packets.udp(source, target, (49_152 + number, port), BFD_DOWN))
        world.until(lambda: counter.packets()[0] < 40, 3, "the hub has not seen 40 of them")
        assert counter.packets()[1] == 0, "it let one in"
    assert world.run(hub, routes) == before_routes
    # The hubs among themselves, by the same ports through the same filter.
    with counted(world, hub, f'iifname "link*" udp dport {{ {BFD}, {BFD_ECHO} }}') as counter:
        world.until(lambda: counter.packets()[1] < 5, 3, "hubs do not hear each other either: nothing was tried")


SPEAK = """
import socket, sys
for address in sys.argv[1:]:
    try:
        with socket.create_connection((address, 179), 3) as talk:
            talk.settimeout(2)
            # OPEN: version 4, AS 65001, hold time 90, an identifier, no options.
            talk.sendall(bytes.fromhex("ff" * 16 + "001d0104fde9005a0a64010100"))
            print("answered", len(talk.recv(99)))
    except ConnectionRefusedError:
        print("refused")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
    talk.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)  # as a neighbour's, or it would be dropped for that
    talk.bind(("", 49152))
    talk.sendto(bytes.fromhex(sys.stdin.readline()), (sys.argv[1], 3784))
"""


def test_behind_the_packet_filter_bird_knows_no_host_for_a_neighbour(world, carried):
    """The second wall, with the first one opened."""
    _, hub = carried
    gate = world.hubs[hub]
    ports = f"meta l4proto {{ tcp, udp }} th dport {{ {BGP}, {BFD} }}"
    told = world.run(hub, f"nft -e -a insert rule inet vcubev from_hosts {ports} accept")
    handle = re.search(r"# handle (\d+)", told)[1]
    journal = Journal(world, hub, "bird")
    try:
        speaker = world.start(ATTACKER, "python3", "-c", SPEAK, gate["ipv4"], gate["ipv6"])
        said, problem = speaker.communicate(BFD_UP.hex(), timeout=20)
    finally:
        world.run(hub, f"nft delete rule inet vcubev from_hosts handle {handle}")
    # It listens at the links' own addresses, which no host reaches.
    assert said.split() == ["refused", "refused"], said + problem
    journal.until(rf"bfd\d: Bad packet from {re.escape(world.hosts[ATTACKER]['ipv4'])} - unknown session")


def test_a_host_that_claims_without_end_keeps_nobody_from_the_hub(world, carried, tell):
    """Each question costs the hub's agent a look into BIRD, and the agent also says whether the hub is fit."""
    device, hub = carried
    own, gate = world.hosts[ATTACKER], world.hubs[hub]
    question = packets.udp(own["ipv4"], gate["ipv4"], (4000, CLAIMS_PORT), CLAIM)
    ask = (
        "import socket, time\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2)\n"
        f"s.bind(('{world.hosts[VICTIM]['ipv4']}', 0)); answered = 0\n"
        "for n in range(20):\n"
        f"  s.sendto(b'{{\\\"nonce\\\": \\\"%d\\\"}}' % n, ('{gate['ipv4']}', {CLAIMS_PORT}))\n"
        "  try: answered += len(s.recv(4096)) > 0\n"
        "  except TimeoutError: pass\n"
        "  time.sleep(0.02)\n"
        "print(answered)"
    )
    route = f"ip route replace {gate['ipv4']} dev path{_path_to(world, VICTIM, hub)} src {world.hosts[VICTIM]['ipv4']}"
    world.run(VICTIM, route)
    try:
        calm = int(world.run(VICTIM, f'python3 -c "{ask}"'))
        sent = 0
        asking = world.start(VICTIM, "python3", "-c", ask.replace('\\"', '"'))
        with wire(world, ATTACKER, device) as leaving:
            while asking.poll() is None:
                for _ in range(50):
                    leaving.send(question)
                sent += 50
                time.sleep(0.005)  # some thousand a second: it is the agent that is tried, not the tunnel
        answered = int(asking.communicate()[0])
    finally:
        world.run(VICTIM, f"ip route del {gate['ipv4']}")
    tell.append(f"claims: {sent} at once from one host; another got {answered} of 20 answers ({calm} without)")
    assert calm == 20 and answered >= 15
    assert world.hub_state(hub)["fit"] == 1


def _path_to(world, host, hub):
    paths = world.state(host)["paths"]
    return next(number for number, path in paths.items() if path["hub"] == hub)
