"""Each fault of the lab bites, hits nothing else, and is undone. Real machines: root and about a minute."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from lab import faults, leftovers, machines, networks, underlay
from lab.system import LabError
from tests.lab.two_sites import (
    EVERYTHING,
    HEADERS_BYTES,
    PORTS,
    SITES,
    STACK,
    Lab,
    arrives,
    connect,
    console,
    endpoint,
    machine,
    ping,
    record,
    router_of,
    says,
    source,
    standing,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="makes machines: needs root")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with standing(tmp_path_factory, "faults") as made:
        yield made


@pytest.fixture
def lab(running: Lab) -> Iterator[Lab]:
    yield running
    for name in record().machines:
        faults.restore(*STACK, name)
        if machine(name).ports_swapped:
            faults.rebind(*STACK, name)
        underlay.inside(record().namespace(machine(name)), "ip", "route", "flush", "cache")


def test_a_cut_machine_is_out_of_reach_and_knows_nothing_of_it(lab: Lab) -> None:
    faults.set_cut(*STACK, "hub", True)
    assert lab.both("hub", "far") == (False, False)
    link = underlay.inside(record().namespace(machine("hub")), "ip", "link", "show", "eth0")
    assert "LOWER_UP" in link, "a cable cut further on shows no carrier loss"
    faults.set_cut(*STACK, "hub", False)
    assert lab.both("hub", "far") == (True, True)


def test_packets_are_lost_in_the_direction_asked_for(lab: Lab) -> None:
    for direction, expected in (("from", (False, True)), ("to", (True, False)), ("both", (False, False))):
        faults.set_loss(*STACK, "far", 100, direction)
        assert lab.both("far", "hub") == expected, direction
        faults.set_loss(*STACK, "far", 0)
    assert lab.both("far", "hub") == (True, True), "0 per cent ends it"


PAIRS = [("hub", "web-1"), ("web-1", "hub"), ("hub", "far"), ("hub", "db-1"), ("db-1", "hub"), ("web-1", "db-1")]


@pytest.mark.parametrize("one, other", PAIRS)
def test_two_machines_cut_from_each_other_still_meet_all_others(lab: Lab, one: str, other: str) -> None:
    assert lab.both(one, other) == (True, True)
    faults.set_cut_from(*STACK, one, other)
    assert lab.both(one, other) == (False, False)
    if IPv4Address(endpoint(other, one)[0]) in machine(other).addresses:  # else a router answers for it
        assert ping(one, other) == "silence"
    shared = {"db-2"} if (one, other) == ("web-1", "db-1") else set()  # behind the address that web-1 is cut from
    for left in set(SITES) - {one, other}:
        assert left in shared or lab.both(one, left) == (True, True), left
        assert lab.both(other, left) == (True, True), left
    faults.set_cut_from(*STACK, one, other, cut=False)
    assert lab.both(one, other) == (True, True)


@pytest.mark.parametrize("one, other", PAIRS)
def test_a_cut_of_one_way_leaves_the_other(lab: Lab, one: str, other: str) -> None:
    lab.both(one, other)
    faults.set_cut_from(*STACK, one, other, one_way=True)
    # Where both are private, no packet of the first would open its NAT again: the opening stays for a while.
    assert lab.both(one, other) == (False, True)
    faults.restore(*STACK, one)
    assert lab.both(one, other) == (True, True)


def test_a_partition_is_made_of_pairs_and_healed_pair_by_pair(lab: Lab) -> None:
    console("cut", "hub", "--from", "far", "--from", "db-1")
    assert [lab.both("hub", name)[0] for name in ("far", "db-1", "db-2", "web-1")] == [False, False, True, True]
    console("restore", "hub", "--from", "far")
    assert [lab.both("hub", name)[0] for name in ("far", "db-1")] == [True, False]
    assert "Give one of: db-1." in console("restore", "hub", "--from", "far"), "it is not cut from it any more"
    console("restore", "hub")
    assert lab.both("hub", "db-1") == (True, True)


def test_a_machine_cannot_be_cut_from_itself_or_from_nobody(lab: Lab) -> None:
    assert "itself" in console("cut", "hub", "--from", "hub")
    assert "--one-way is for a pair" in console("cut", "hub", "--one-way")
    with pytest.raises(LabError, match="no machine 'nobody'"):
        faults.set_cut_from(*STACK, "hub", "nobody")
    assert lab.both("hub", "far") == (True, True)


def test_a_blocked_protocol_is_dropped_both_ways_and_no_other(lab: Lab) -> None:
    ends = connect("far", "hub", 8001)
    faults.set_blocked(*STACK, "far", "udp")
    assert lab.both("far", "hub") == (False, False)
    assert says(*ends) and says(*reversed(ends)) and ping("far", "hub") == "answered"
    faults.restore(*STACK, "far")
    assert lab.both("far", "hub") == (True, True)
    faults.set_blocked(*STACK, "far", "tcp")
    assert not says(*ends), "a connection that was open is no exception"
    assert lab.both("far", "hub") == (True, True) and ping("far", "hub") == "answered"
    faults.set_blocked(*STACK, "far", "tcp", blocked=False)
    for opened in (*ends, *connect("hub", "far", 8002)):
        opened.close()
    with pytest.raises(LabError, match="udp, tcp"):
        faults.set_blocked(*STACK, "far", "icmp")


def test_a_narrow_link_refuses_large_packets_aloud_and_fragments_the_others(lab: Lab) -> None:
    faults.set_mtu(*STACK, "far", 1400)
    assert ping("hub", "far", 1400, "do") == "answered"
    assert ping("hub", "far", 1401, "do") == "frag needed", "the router says what fits"
    assert ping("far", "hub", 1400, "do") == "answered"
    assert ping("far", "hub", 1401, "do") == "message too long", "the machine's own interface"
    assert ping("hub", "far", 1500) == ping("far", "hub", 1500) == "answered", "without DF: in fragments"
    assert ping("hub", "web-1", 1500, "do") == "answered", "others' links are as they were"
    faults.set_mtu(*STACK, "far", 9001)
    underlay.inside(record().namespace(machine("hub")), "ip", "route", "flush", "cache")
    assert ping("hub", "far", 1500, "do") == ping("far", "hub", 1500, "do") == "answered"


def test_behind_nat_too_a_sender_learns_what_fits_unless_the_router_is_silent(lab: Lab) -> None:
    hub, namespace = lab.sockets["hub"], record().namespace(machine("hub"))
    assert lab.both("db-1", "hub") == (True, True)
    hub.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: as VPNs do
    try:
        faults.set_mtu(*STACK, "db-1", 1300, silent=True)
        for _ in range(2):
            assert not lab.sent("hub", "db-1", 1301 - HEADERS_BYTES), "a black hole: no error, no packet"
        assert lab.sent("hub", "db-1", 1300 - HEADERS_BYTES)
        faults.set_mtu(*STACK, "db-1", 1300)
        assert not lab.sent("hub", "db-1", 1301 - HEADERS_BYTES)
        assert "mtu 1300" in underlay.inside(namespace, "ip", "route", "get", str(router_of("db-1")))
        with pytest.raises(OSError, match="too long"):
            lab.sent("hub", "db-1", 1301 - HEADERS_BYTES)
    finally:
        hub.setsockopt(socket.IPPROTO_IP, 10, 1)


def test_a_silent_router_is_silent_about_its_one_machine(lab: Lab) -> None:
    faults.set_mtu(*STACK, "far", 1400, silent=True)
    faults.set_mtu(*STACK, "db-2", 1400)
    assert ping("hub", "far", 1401, "do") == "silence"
    assert ping("db-1", "db-2", 1401, "do") == "frag needed"
    assert ping("hub", "far", 1500) == "answered", "what may be fragmented is"


@pytest.mark.parametrize("mtu_bytes", [575, 9002])
def test_an_mtu_that_no_link_has_is_refused(lab: Lab, mtu_bytes: int) -> None:
    with pytest.raises(LabError, match="576 to 9001"):
        faults.set_mtu(*STACK, "far", mtu_bytes)


def test_faults_outlast_a_reboot_and_a_change_of_the_firewall(lab: Lab) -> None:
    faults.set_mtu(*STACK, "hub", 1400)
    faults.set_blocked(*STACK, "hub", "tcp")
    faults.set_cut_from(*STACK, "hub", "far")
    machines.power_off(*STACK, "hub")
    machines.start(*STACK, "hub")
    lab.sockets["hub"] = lab.udp("hub", PORTS["hub"])
    for site, firewall in lab.firewalls.items():
        networks.update_firewall(*STACK, firewall, EVERYTHING)
        assert lab.both("hub", "far") == (False, False), site
    assert lab.both("hub", "db-1") == (True, True)
    assert (ping("hub", "web-1", 1401, "do"), ping("web-1", "hub", 1401, "do")) == ("message too long", "frag needed")
    with pytest.raises(OSError):
        connect("hub", "web-1", 8003)
    faults.restore(*STACK, "hub")
    assert lab.both("hub", "far") == (True, True)
    assert ping("hub", "web-1", 1500, "do") == "answered"


def test_list_shows_every_fault_and_restore_ends_them_all(lab: Lab) -> None:
    for command in (
        "cut far",
        "cut far --from hub",
        "cut far --from db-1 --one-way",
        "block far udp",
        "block far tcp",
        "mtu far 1400 --silent",
        "drop far --percent 5 --direction to",
    ):
        assert console(*command.split()) == "", command
    shown = console("list")
    assert "cut; cut from db-1, one way; cut from hub; tcp blocked; udp blocked; MTU 1400, silent; 5 % lost to" in shown
    assert console("restore", "far") == ""
    assert faults.describe(machine("far")) == []
    assert lab.both("far", "hub") == (True, True)


@pytest.mark.parametrize("port", [7010, 33000, 61000])
def test_a_rebound_machine_is_seen_under_another_port_and_never_again_under_the_old(lab: Lab, port: int) -> None:
    private, far, also_far = lab.udp("db-1", port), lab.udp("hub", 7020), lab.udp("hub", 7021)
    east, hub = str(router_of("db-1")), str(machine("hub").address)
    mapped = source(private, far, (hub, 7020))
    assert mapped == port and arrives(far, private, (east, mapped))
    assert lab.both("db-2", "hub") == (True, True)
    for _ in range(3):
        old = mapped
        faults.rebind(*STACK, "db-1")
        assert not arrives(far, private, (east, old)), "the table is lost"
        mapped = source(private, far, (hub, 7020))
        assert mapped is not None and (mapped < 32768) != (old < 32768)
        assert arrives(far, private, (east, mapped)) and not arrives(far, private, (east, old))
        assert source(private, also_far, (hub, 7021)) == mapped, "NAT stays independent of the endpoint"
        assert lab.sent("hub", "db-2"), "its neighbour keeps its mapping"
    for opened in (private, far, also_far):
        opened.close()


def test_a_connection_breaks_when_its_nat_mapping_goes(lab: Lab) -> None:
    ends = connect("db-1", "hub", 8004)
    assert says(*ends) and says(*reversed(ends))
    assert console("rebind", "db-1") == ""
    assert not says(*reversed(ends)), "what comes for the old mapping is dropped"
    assert not says(*ends), "the other end knows no connection from the new port"
    for opened in (*ends, *connect("db-1", "hub", 8005)):
        opened.close()


def test_a_public_machine_cannot_be_rebound(lab: Lab) -> None:
    with pytest.raises(LabError, match="hub is public and has no NAT mappings"):
        faults.rebind(*STACK, "hub")


def test_a_machine_made_anew_has_no_fault_of_its_own_but_others_are_still_cut_from_it(lab: Lab) -> None:
    faults.set_cut_from(*STACK, "hub", "db-1")
    faults.set_cut_from(*STACK, "far", "hub")
    machines.terminate(*STACK, "hub")
    lab.launch("hub")
    assert lab.both("hub", "db-1") == (True, True)
    assert lab.both("hub", "far") == (False, False)
    faults.restore(*STACK, "far")
    assert lab.both("hub", "far") == (True, True)


def test_what_was_cut_is_removed_without_a_trace(lab: Lab) -> None:
    faults.set_cut_from(*STACK, "hub", "db-1")
    for site in lab.networks.values():
        networks.delete_network(*STACK, site)
    assert leftovers.find(record()) == []
