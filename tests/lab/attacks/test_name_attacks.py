"""A host that would have names lead elsewhere, or nowhere: root on it, with its keys and its tunnels."""

from __future__ import annotations

import json
import re
import time

import pytest

from components.model.files import CONSTANTS
from tests import asking
from tests.lab.attacks import packets
from tests.lab.attacks.attacker import counted, wire
from tests.lab.faults.looking import full, look_up, watched

pytestmark = pytest.mark.lab
ATTACKER, VICTIM = "web-1", "web-2"
SERVER_LINE = "sed -n 's/^NAMES_SERVER=//p' /etc/vcubev/names.env"


@pytest.fixture
def carried(world):
    """The attacker's device and the hub that it goes to."""
    world.settle()
    return f"path{world.state(ATTACKER)['active']}", world.hubs_of(ATTACKER)[0]


def test_a_host_tells_no_hub_of_names(world, carried):
    """Neither under its own address nor under another hub's, at its own hub or through it at another."""
    device, hub = carried
    own = world.hosts[ATTACKER]["ipv4"]
    others = [name for name in world.hubs if name != hub]
    # The names of a host that is live, at the attacker's own address.
    lie = json.dumps({"ask": False, "hosts": {own: [VICTIM, "paris", "web", True]}}).encode()
    port = CONSTANTS["NAMES_PORT"]
    with (
        counted(world, hub, f'iifname "hosts-*" udp dport {port}') as counter,
        wire(world, ATTACKER, device) as leaving,
    ):
        for _ in range(5):
            for source in (own, *(world.hubs[other]["ipv4"] for other in others)):
                for target in world.hubs:
                    leaving.send(packets.udp(source, world.hubs[target]["ipv4"], (port, port), lie))
        # Under another address nothing gets past OpenVPN.
        world.until(lambda: counter.packets()[0] < 5, 3, "the hub has seen none")
        assert counter.packets()[1] == 0, "it let one in"
    names = {full(VICTIM): [world.hosts[VICTIM][family] for family in ("ipv4", "ipv6")]}
    for machine in (VICTIM, "db-1"):
        assert look_up(world, machine, names)[0] == names


def test_a_host_that_asks_without_end_keeps_nobody_from_the_answers(world, carried, tell):
    device, hub = carried
    server = world.run(ATTACKER, SERVER_LINE).strip()
    question = packets.udp(world.hosts[ATTACKER]["ipv4"], server, (4000, 53), asking.question(full("web"), "A"))
    expected = [world.hosts["db-1"]["ipv4"]]
    sent = 0
    with watched(world, VICTIM, full("db-1")) as answers, wire(world, ATTACKER, device) as leaving:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for _ in range(50):
                leaving.send(question)
            sent += 50
            time.sleep(0.005)
    longest = max(answer.seconds for answer in answers)
    tell.append(f"names: {sent} questions in 3 s from one host; another's longest look-up took {longest * 1000:.0f} ms")
    assert all(answer.addresses == expected for answer in answers) and longest < 1
    dropped = world.run(hub, "nft list chain inet vcubev questions")
    assert any(int(number) > 0 for number in re.findall(r"counter packets (\d+)", dropped)), dropped
