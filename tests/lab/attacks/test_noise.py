"""What somebody on the way can do who has heard all: play it back. And what anybody can who has a fast line: flood."""

from __future__ import annotations

import random
import re
import time

import pytest

from tests.lab.attacks import packets
from tests.lab.attacks.attacker import HOSTS_UDP, HUB, PORT, TCP_PORT, Journal, loud, underlay, wire, within
from tests.lab.attacks.dialing import DECIDED, UP
from tests.lab.attacks.forge import SPARE_ADDRESS
from tests.lab.attacks.probing import PING_SECONDS, PLAIN, VICTIM, lost, pinging

pytestmark = pytest.mark.lab
FLOOD_SECONDS = 4
FLOOD_FRAMES = 500  # different ones, over and over
WORST_LOSS = 0.25
WORST_GROWTH_KILOBYTES = 8192
RATE_SECONDS = 2  # after which OpenVPN answers first packets again (--connect-freq-initial)
RESET_V3 = 10 << 3


def replayed(frame: bytes) -> bytes:
    """Return a frame as it was, but with the checksum that its sender left to the network card."""
    source, port, target, target_port, data = packets.udp_payload(frame)
    return packets.ethernet(frame[6:12], frame[0:6], packets.udp(source, target, (port, target_port), data))


def to_hub(frames: list[bytes], hub: str) -> list[bytes]:
    return [frame for frame in frames if (seen := packets.udp_payload(frame)) and seen[2:4] == (hub, PORT)]


def test_packets_played_back_are_dropped_and_named(world):
    """A host's own, heard on its wire and sent again from there, which is the best that a listener can do."""
    hub = within(world, HUB)
    assert world.hubs_of(VICTIM)[0] == HUB
    with wire(world, VICTIM, "eth0") as heard, wire(world, HUB, "hosts-udp") as inside, loud(world, HUB) as log:
        lost(pinging(world, 60))
        sent = to_hub(heard.left(), hub)[-60:]
        assert sum(PLAIN in frame for frame in inside.came()) >= 60, "the first time they come"
        for frame in sent:
            heard.send(replayed(frame))
        log.until("bad packet ID .may be a replay.")
        assert not [frame for frame in inside.came(0.5) if PLAIN in frame], "they came a second time"
        refused = len(re.findall("AEAD Decrypt error: bad packet ID", log.text()))
    assert refused >= len(sent) - 5, f"{refused} of {len(sent)}"


def test_a_recorded_handshake_played_back_makes_no_session(world, stranger, forge):
    hub = underlay(world, HUB)
    with stranger.wire() as own:
        dial = stranger.dialer.dial((hub, PORT), forge.rightful("host.recorded"))
        assert UP in dial.until(DECIDED), dial.told()
        sent = to_hub(own.left(0.3), hub)
        stranger.dialer.stop()
        world.until(lambda: SPARE_ADDRESS in world.run(HUB, "ip route show table 100"), 10, "the session goes on")
        journal = Journal(world, HUB, HOSTS_UDP)
        for frame in sent:
            own.send(replayed(frame))
            time.sleep(0.01)
        told = journal.until("bad record mac|TLS handshake failed|tls-crypt unwrap error", 10)
    assert "[host.recorded] Peer Connection Initiated" not in told
    assert SPARE_ADDRESS not in world.run(HUB, "ip route show table 100")


def resident_kilobytes(world) -> int:
    show = f"grep VmRSS /proc/$(systemctl show -p MainPID --value {HOSTS_UDP})/status"
    return int(world.run(HUB, show).split()[1])


def noise(seed, stranger, forge, hub):
    """Return what has an opcode of OpenVPN's and nothing else that is right."""
    return [bytes([seed.randrange(1, 12) << 3]) + seed.randbytes(seed.choice((13, 53, 400))) for _ in range(100)]


def stolen(seed, stranger, forge, hub):
    """Return the first packet of who has the outer key: a host's disk in the wrong hands, and not yet revoked."""
    with stranger.wire() as own:
        stranger.dialer.dial((hub, PORT), forge.rightful("host.stolen")).until(DECIDED)
        first = packets.udp_payload(to_hub(own.left(), hub)[0])[4]
    stranger.dialer.stop()
    assert first[0] == RESET_V3
    return [first]


@pytest.mark.parametrize("kind", [noise, stolen])
def test_a_flood_of_first_packets_leaves_a_hub_serving(world, stranger, forge, tell, kind):
    """New hosts still come in, by UDP or the other door; those that are there lose little; the hub keeps no state."""
    hub = underlay(world, HUB)
    seed = random.Random(2)
    texts = kind(seed, stranger, forge, hub)
    memory = resident_kilobytes(world)
    ping = pinging(world, round(FLOOD_SECONDS / PING_SECONDS))
    doors = {"udp4": PORT, "tcp": TCP_PORT}
    with stranger.wire() as own:
        ports = [1024 + seed.randrange(30_000) for _ in range(FLOOD_FRAMES)]
        sent = [packets.udp(stranger.address, hub, (port, PORT), seed.choice(texts)) for port in ports]
        frames = [packets.ethernet(own.own_mac, stranger.gateway, packet) for packet in sent]
        began, count = time.monotonic(), 0
        new = {}
        while time.monotonic() < began + FLOOD_SECONDS:
            for frame in frames:
                own.send(frame)
            count += len(frames)
            if not new:
                for number, (transport, port) in enumerate(doors.items(), 80):
                    shown = forge.rightful(f"host.new-{transport}", f"10.100.1.{number}")
                    new[transport] = stranger.dialer.dial((hub, port), shown, transport=transport)
    missed = lost(ping)
    came = {transport for transport, dial in new.items() if dial.is_up}
    stranger.dialer.stop()
    grown = resident_kilobytes(world) - memory
    began = time.monotonic()
    while UP not in (late := stranger.dialer.dial((hub, PORT), forge.rightful("host.late"))).until(DECIDED):
        assert time.monotonic() < began + RATE_SECONDS + 5, late.told()[-1000:]
    seconds = time.monotonic() - began
    stranger.dialer.stop()
    pings = round(FLOOD_SECONDS / PING_SECONDS)
    tell.append(
        f"flood ({kind.__name__}): {count / FLOOD_SECONDS:.0f} packets a second; {missed} of {pings} pings lost; "
        f"who came meanwhile was let in by {' and '.join(sorted(came))}; afterwards by UDP after {seconds:.1f} s; "
        f"the hub grew by {grown} kB"
    )
    assert came and missed < pings * WORST_LOSS and grown < WORST_GROWTH_KILOBYTES
    assert world.hub_state(HUB)["fit"] == 1
