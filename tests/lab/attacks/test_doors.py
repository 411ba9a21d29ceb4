"""What anybody on the internet finds who knocks at every door of a hub."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress

import pytest

from lab import underlay as routers
from lab.records import load
from tests.lab.attacks import packets
from tests.lab.attacks.attacker import HOSTS_TCP, HUB, PORT, TCP_PORT, Journal, record, underlay
from tests.lab.attacks.dialing import DECIDED, UP
from tests.lab.attacks.packets import ACK, SYN
from tests.lab.attacks.probing import PLAIN
from tests.lab.faults.world import PROJECT

pytestmark = pytest.mark.lab
SSH_PORT, LINK_PORT, SCANNER_PORT = 22, 20_002, 30_000
EVERY_PORT = range(1, 65_536)
# What services are known by, and what the hub's own daemons use inside.
LIKELY_PORTS = {*range(1, 2049), *range(20_000, 20_256), 2379, 3306, 3784, 3785, 4784, 5432, 6443, 8080, 8443, 9090}
ANSWER_SECONDS = 1.5
PAUSE_PACKETS, PAUSE_SECONDS = 500, 0.01  # as much at once as a queue of this computer's takes
RESET_V2, RESET_V3, SERVERS_RESET = 7 << 3, 10 << 3, 8 << 3  # OpenVPN's opcodes of first packets


class Knocking:
    """Knocks from the stranger's wire and listens for what the hub says."""

    def __init__(self, stranger, hub: str) -> None:
        self._stranger, self._hub = stranger, hub
        self._own = stranger.wire()

    def __enter__(self) -> Knocking:
        return self

    def __exit__(self, *reason: object) -> None:
        self._own.__exit__()

    def send(self, sent: Iterable[bytes]) -> tuple[set[int], list[str]]:
        """Send packets; return (TCP ports that opened, everything else that the hub said)."""
        self._own.came()
        for number, packet in enumerate(sent):
            self._own.send(packets.ethernet(self._own.own_mac, self._stranger.gateway, packet))
            if number % PAUSE_PACKETS == 0:
                time.sleep(PAUSE_SECONDS)
        opened, others = set(), []
        for frame in self._own.came(ANSWER_SECONDS):
            if frame[12:14] != b"\x08\x00" or frame[26:30] != socket.inet_aton(self._hub):
                continue
            segment = packets.tcp_flags(frame)
            if segment and segment[2] & (SYN | ACK) == SYN | ACK:
                opened.add(segment[1])
            else:
                others.append(frame[14:60].hex())
        return opened, others

    def doors(self, tcp_ports: Iterable[int], udp_ports: Iterable[int]) -> tuple[set[int], list[str]]:
        own, hub = self._stranger.address, self._hub
        tcp = self.send(packets.tcp(own, hub, (SCANNER_PORT, port), SYN) for port in tcp_ports)
        udp = self.send(packets.udp(own, hub, (SCANNER_PORT, port), PLAIN) for port in udp_ports)
        return tcp[0] | udp[0], tcp[1] + udp[1]


def test_a_scan_finds_the_declared_doors_and_nothing_else(world, stranger):
    with Knocking(stranger, underlay(world, HUB)) as knocking:
        # Through the cloud's firewall: SSH is the operators', and the stranger is none.
        assert knocking.doors(EVERY_PORT, LIKELY_PORTS) == ({TCP_PORT}, [])


def test_without_the_clouds_firewall_a_hubs_own_opens_nothing_more_but_ssh(world, stranger):
    hub = record(world, HUB)
    stack = load(PROJECT, world.tree.stack)
    router = stack.router(stack.network(hub.network_id))
    accept = f'insert rule inet lab forward oifname "m{hub.number}" accept\n'
    told = routers.inside(router, "nft", "-e", "-a", "-f", "-", stdin=accept)
    handle = told.rpartition("# handle ")[2].strip()
    try:
        with Knocking(stranger, str(hub.address)) as knocking:
            assert knocking.doors(LIKELY_PORTS, LIKELY_PORTS) == ({SSH_PORT, TCP_PORT}, [])
    finally:
        routers.inside(router, "nft", "delete", "rule", "inet", "lab", "forward", "handle", handle)


def test_ssh_takes_keys_and_nothing_else(world, tmp_path):
    known = tmp_path / "known"
    known.write_text(f"{underlay(world, HUB)} {world.hubs[HUB]['ssh']['host_key']}\n")
    # Nothing of this computer's user: no key, no agent, no configuration.
    options = ["-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes", "-o", "IdentityFile=none"]
    command = ["ssh", *options, "-o", "BatchMode=yes", f"root@{underlay(world, HUB)}", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={"PATH": os.environ["PATH"]})
    assert done.returncode != 0 and "Permission denied (publickey)" in done.stderr, done.stderr


def test_openvpn_is_silent_to_strangers(world, stranger, forge):
    """The datagram that a host begins with brings an answer; noise, pieces and what only looks like it bring none."""
    hub, own = underlay(world, HUB), stranger.address
    seed = random.Random(1)
    session = seed.randbytes(8)
    texts = [seed.randbytes(size) for size in (0, 1, 2, 13, 14, 53, 54, 100, 1200, 1472)]
    texts += [bytes([opcode]) + session + bytes(5) for opcode in (RESET_V2, RESET_V3)]
    # In the right shape: a wrapped packet and a wrapped key of the right lengths, made up.
    wrapped_key = seed.randbytes(289) + (291).to_bytes(2, "big")
    texts += [bytes([opcode << 3]) + session + seed.randbytes(45) + wrapped_key for opcode in range(1, 12)]
    sent = [
        packets.udp(own, hub, (SCANNER_PORT + number, port), text)
        for number, text in enumerate(texts)
        for port in (PORT, LINK_PORT)
    ]
    # Longer than any packet; and one whose last piece never comes.
    for size, kept in ((60_000, None), (9_000, -1)):
        whole = packets.udp(own, hub, (SCANNER_PORT, PORT), seed.randbytes(size))
        sent += list(packets.fragments(whole, 1480))[:kept]
    with Knocking(stranger, hub) as knocking:
        assert knocking.send(sent) == (set(), [])
    with stranger.wire() as heard:
        dial = stranger.dialer.dial((hub, PORT), forge.rightful("host.rightful"))
        try:
            assert UP in dial.until(DECIDED), dial.told()
        finally:
            stranger.dialer.stop()
        said = [seen for frame in heard.came() if (seen := packets.udp_payload(frame)) and seen[0] == hub]
        assert said[0][4][0] == SERVERS_RESET


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\xff" * 4000])
def test_the_door_for_tcp_says_nothing_to_strangers(world, stranger, said):
    journal = Journal(world, HUB, HOSTS_TCP)
    door = underlay(world, HUB), TCP_PORT
    with packets.within(world.namespace(stranger.name), lambda: socket.create_connection(door, 3)) as talk:
        talk.settimeout(5)
        talk.sendall(said)
        with suppress(ConnectionResetError):
            assert talk.recv(100) == b""
    journal.until("Bad encapsulated packet length|Non-OpenVPN client protocol detected")
