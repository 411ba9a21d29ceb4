"""Who sits on the same wire as a hub and a host: may cut them off, may read and inject nothing.

The lab gives each machine a wire of its own, as clouds do, and there such neighbours do not exist. For these tests one
site's machines share one.
"""

from __future__ import annotations

import re
import time

import pytest

from tests.lab.attacks import packets
from tests.lab.attacks.attacker import HUB, PORT, counted, loud, wire, within
from tests.lab.attacks.packets import ARP_REPLY, ARP_REQUEST
from tests.lab.attacks.probing import PEER, PING_SECONDS, PLAIN, VICTIM, again_and_again, lost, pinging
from tests.lab.attacks.segment import SharedSegment

pytestmark = pytest.mark.lab
PINGS = 250
# By the second tunnel: three missed probes, and what a busy computer adds.
WORST_OUTAGE_PINGS = 75


@pytest.fixture
def segment(world, stranger):
    world.be_home()
    with SharedSegment(world, (HUB, VICTIM, stranger.name)) as shared:
        yield shared


def test_on_a_wire_of_its_own_a_neighbour_that_claims_the_hubs_address_gets_nothing(world, stranger):
    """The lab as it is: its router takes a machine's word for no address but the machine's own."""
    hub = within(world, HUB)
    with stranger.wire() as own:
        claim = packets.arp(ARP_REPLY, own.own_mac, hub, packets.BROADCAST, hub)
        with again_and_again(lambda: own.send(claim)):
            assert lost(pinging(world, 100)) == 0
        assert not [frame for frame in own.came() if (seen := packets.udp_payload(frame)) and seen[2] == hub]


def test_a_neighbour_between_hub_and_host_can_change_nothing_unseen(world, stranger, segment):
    """It sends the hub what the host has sent, with one bit turned, and in the host's name things of its own."""
    hub = within(world, HUB)
    with stranger.wire() as own, wire(world, VICTIM, "eth0") as theirs, wire(world, HUB, "hosts-udp") as inside:
        ping = pinging(world, 60)
        lost(ping)
        sent = [seen for frame in theirs.left() if (seen := packets.udp_payload(frame)) and seen[2:4] == (hub, PORT)]
        assert len(sent) > 60
        mac = wire_address(world, HUB)
        inside.came()
        with loud(world, HUB) as log:
            forged = 0
            for source, port, _, _, data in sent[-60:]:
                for place in (len(data) - 1, 8):
                    turned = bytearray(data)
                    turned[place] ^= 1
                    own.send(packets.ethernet(own.own_mac, mac, packets.udp(source, hub, (port, PORT), bytes(turned))))
                    forged += 1
                own.send(packets.ethernet(own.own_mac, mac, packets.udp(source, hub, (port, PORT), PLAIN * 4)))
            log.until("AEAD Decrypt error: cipher final failed|packet HMAC authentication failed")
            refused = len(re.findall("AEAD Decrypt error: cipher final failed", log.text()))
        assert refused > forged / 4, log.text()[-2000:]
        assert not [frame for frame in inside.came(0.2) if PLAIN in frame]
    world.settle()


def test_a_neighbour_can_put_nothing_into_the_overlay_in_the_clear(world, stranger, segment):
    """Packets with overlay addresses, from the wire: to a host under another host's, to a hub under a host's."""
    with stranger.wire() as own:
        for target, name, port in ((VICTIM, PEER, 7007), (HUB, "web-2", 1195), (HUB, "web-2", 179)):
            to, source = (world.hubs if target == HUB else world.hosts)[target], world.hosts[name]
            mac = wire_address(world, target)
            match = f'iifname "eth0" meta l4proto {{ tcp, udp }} th dport {port}'
            with counted(world, target, match) as counter:
                for family in ("ipv4", "ipv6"):
                    for number in range(5):
                        ports = 5000 + number, port
                        for made in (
                            packets.udp(source[family], to[family], ports, PLAIN),
                            packets.tcp(source[family], to[family], ports, packets.SYN),
                            # And under its own address, to one that no tunnel brought.
                            packets.udp(stranger.address, to["ipv4"], ports, PLAIN),
                        ):
                            own.send(packets.ethernet(own.own_mac, mac, made))
                world.until(lambda counter=counter: counter.packets()[0] < 30, 3, f"{target} has not seen all 30")
                assert counter.packets()[1] == 0, f"{target} let in what came by the wire"
    # The same, from that host, by the tunnel.
    send = f"import socket; socket.socket(2, socket.SOCK_DGRAM).sendto(b'x', ('{world.hosts[VICTIM]['ipv4']}', 7007))"
    with counted(world, VICTIM, 'iifname "path*" udp dport 7007') as counter:
        world.run(PEER, f'python3 -c "{send}"')
        world.until(lambda: counter.packets()[1] != 1, 3, "the rightful one is not let in either")


def test_a_router_that_advertises_the_overlay_for_its_own_gets_none_of_it(world, stranger, segment):
    """ND's game (and DHCP's, CVE-2024-3661): a route more specific than the tunnel's, and an answer for who asks."""
    peer = world.hosts[PEER]["ipv6"]
    prefix = peer.rpartition("::")[0] + "::/64"
    dropped = (
        "nft list chain inet vcubev output | grep 'overlay in the clear' | grep 'ip6 daddr' | grep -o 'packets [0-9]*'"
    )
    before = world.run(VICTIM, dropped)
    world.run(stranger.name, f"ip -6 address add {peer}/128 dev eth0 nodad")
    link_local = world.run(stranger.name, "ip -6 -o address show dev eth0 scope link").split()[3].split("/")[0]
    try:
        with stranger.wire() as own:
            advertise = packets.router_advertisement(own.own_mac, link_local, prefix)
            with again_and_again(lambda: own.send(advertise)):
                asked = f"ip -6 route get {peer}"
                world.until(lambda: "dev eth0" not in world.run(VICTIM, asked), 5, "the host takes no such route")
                lost(pinging(world, 20, peer))
            seen = own.came()
            assert not [frame for frame in seen if PLAIN in frame], "it left in the clear"
        assert world.run(VICTIM, dropped) != before, "not by the packet filter"
        assert f"{prefix} dev eth0" not in world.run(HUB, "ip -6 route"), "a hub routes, and takes no router's word"
        assert world.run(VICTIM, f"ping -q -c 2 -W 1 {world.hosts[PEER]['ipv4']}")
    finally:
        world.run(stranger.name, f"ip -6 address del {peer}/128 dev eth0")
        flush = ("route flush proto ra", f"route flush {prefix} dev eth0", "address flush dev eth0 scope global")
        world.run(VICTIM, "; ".join(f"ip -6 {words}" for words in flush))
    assert world.reaches(VICTIM, PEER)


def test_a_neighbour_that_takes_the_hubs_address_cuts_it_off_for_a_moment_and_reads_nothing(
    world, stranger, segment, tell
):
    hub = within(world, HUB)
    assert world.hubs_of(VICTIM)[0] == HUB, "else there is nothing to take"
    with stranger.wire() as own, wire(world, VICTIM, "path1") as clear1, wire(world, VICTIM, "path2") as clear2:
        claims = [
            packets.arp(ARP_REPLY, own.own_mac, hub, packets.BROADCAST, hub),
            packets.arp(ARP_REQUEST, own.own_mac, hub, bytes(6), hub),
        ]
        ping = pinging(world, PINGS)
        time.sleep(0.5)
        with again_and_again(lambda: [own.send(claim) for claim in claims]):
            missed = lost(ping)
        taken = [seen for frame in own.came() if (seen := packets.udp_payload(frame)) and seen[2:4] == (hub, PORT)]
        in_clear = sum(PLAIN in frame for seen in (clear1, clear2) for frame in seen.left())
        assert taken, "the hub's packets did not come to it: nothing was tried"
        assert in_clear > PINGS / 2, "the search would find nothing"
        assert not [data for *_, data in taken if PLAIN in data]
    tell.append(
        f"hub's address taken by a neighbour: {missed * PING_SECONDS * 1000:.0f} ms of traffic lost, "
        f"{len(taken)} packets came to it, none readable"
    )
    assert 0 < missed <= WORST_OUTAGE_PINGS
    # Nobody claims it any more: what it has taken it does not keep.
    world.until(lambda: not world.reaches(VICTIM, PEER), 5, "cut off for good")
    world.settle()


def wire_address(world, name):
    """Return a machine's address on the wire."""
    with wire(world, name, "eth0") as device:
        return device.own_mac
