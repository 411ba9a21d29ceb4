"""A public machine has its site's own address too, as at a cloud. Real machines: root and about a minute."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address

import pytest

from lab import faults, machines, underlay
from lab.system import run, succeeds
from tests.lab.two_sites import (
    HEADERS_BYTES,
    PORTS,
    SITES,
    STACK,
    WAIT_SECONDS,
    Lab,
    arrives,
    connect,
    inside,
    machine,
    record,
    router_of,
    standing,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="makes machines: needs root")]
BULK_BYTES = 3_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with standing(tmp_path_factory, "private") as made:
        yield made


@pytest.fixture
def lab(running: Lab) -> Iterator[Lab]:
    yield running
    for name in record().machines:
        faults.restore(*STACK, name)
        underlay.inside(record().namespace(machine(name)), "ip", "route", "flush", "cache")


def public(name: str) -> str:
    assert machine(name).public
    return str(machine(name).address)


def private(name: str) -> str:
    found = machine(name).addresses[-1]
    assert found in record().networks[SITES[name]].private_prefix
    return str(found)


def reaches(name: str, address: str, total_bytes: int = 84, *options: str) -> bool:
    """Whether a ping of that size, which nobody may fragment, is answered."""
    size = str(total_bytes - HEADERS_BYTES)
    command = ["ping", "-c1", "-W1", "-M", "do", "-s", size, *options, address]
    namespace = underlay.NAMESPACES / record().namespace(machine(name))
    return succeeds("nsenter", f"--net={namespace}", *command)


def learned(name: str, address: str) -> str:
    return underlay.inside(record().namespace(machine(name)), "ip", "route", "get", address)


def seen_from(sender: socket.socket, receiver: socket.socket, to: tuple[str, int]) -> str | None:
    """Return the address from which a datagram comes; None if it does not."""
    sender.sendto(b"whose", to)
    with suppress(TimeoutError):
        return receiver.recvfrom(100)[1][0]
    return None


def test_machines_of_one_site_reach_each_other_by_their_private_addresses_and_no_other_site_does(lab: Lab) -> None:
    assert reaches("web-1", private("hub")) and reaches("hub", private("web-1"))
    assert reaches("far", private("db-1")) and reaches("db-2", private("far"))
    # The two sites have one prefix, so that most addresses are taken at both.
    only_there = next(a for a in map(private, ("far", "db-1", "db-2")) if a not in map(private, ("hub", "web-1")))
    assert not reaches("hub", only_there) and not reaches("web-1", only_there)


def test_a_public_machine_speaks_to_its_site_under_its_private_address_and_to_others_under_the_public_one(
    lab: Lab,
) -> None:
    hub, ports = lab.sockets["hub"], PORTS
    assert seen_from(hub, lab.sockets["web-1"], (private("web-1"), ports["web-1"])) == private("hub")
    assert seen_from(hub, lab.sockets["far"], (public("far"), ports["far"])) == public("hub")


def test_who_asks_a_neighbour_at_either_of_its_addresses_has_the_answer_from_there(lab: Lab) -> None:
    """OpenVPN's server answers from any address of its own, and its client takes the answer from one only."""
    hub = lab.sockets["hub"]
    for address, seen in ((private("hub"), private("web-1")), (public("hub"), str(router_of("web-1")))):
        asking = inside("web-1", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with asking:
            asking.settimeout(WAIT_SECONDS)
            asking.connect((address, PORTS["hub"]))
            asking.send(b"question")
            _, asker = hub.recvfrom(100)
            assert asker[0] == seen, "a public address is met from outside"
            hub.sendto(b"answer", asker)
            assert asking.recv(100) == b"answer", address


def test_a_private_address_never_leaves_its_site_though_a_program_insists_on_it(lab: Lab) -> None:
    with inside("hub", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as insisting:
        insisting.bind((private("hub"), 7101))
        insisting.settimeout(WAIT_SECONDS)
        assert seen_from(insisting, lab.sockets["far"], (public("far"), PORTS["far"])) == public("hub")
        lab.sockets["far"].sendto(b"answer", (public("hub"), 7101))
        assert insisting.recv(100) == b"answer"


def test_a_machine_sends_under_its_own_two_addresses_and_under_no_other(lab: Lab) -> None:
    stranger = str(IPv4Address(private("hub")) + 100)
    namespace = record().namespace(machine("hub"))
    run("ip", "-n", namespace, "address", "add", f"{stranger}/32", "dev", "eth0")
    for own, comes in ((private("hub"), True), (public("hub"), True), (stranger, False)):
        with inside("hub", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.bind((own, 0))
            to = (private("web-1"), PORTS["web-1"])
            assert arrives(sender, lab.sockets["web-1"], to) is comes, own
    run("ip", "-n", namespace, "address", "delete", f"{stranger}/32", "dev", "eth0")


def test_two_machines_cut_from_each_other_meet_by_neither_address(lab: Lab) -> None:
    for one, other in (("hub", "web-1"), ("web-1", "hub")):
        faults.set_cut_from(*STACK, one, other)
        assert not reaches("web-1", private("hub")) and not reaches("web-1", public("hub"))
        assert not reaches("hub", private("web-1"))
        assert reaches("hub", public("far")) and reaches("web-1", public("far"))
        faults.restore(*STACK, one)
        assert reaches("web-1", private("hub")) and reaches("web-1", public("hub"))


def test_large_packets_pass_within_a_site_by_private_addresses_and_nowhere_else(lab: Lab) -> None:
    assert reaches("hub", private("web-1"), 9001) and reaches("web-1", private("hub"), 9001)
    assert not reaches("hub", private("web-1"), 9002)
    for sender, to in (("hub", public("far")), ("web-1", public("far")), ("web-1", public("hub"))):
        assert reaches(sender, to, 1500) and not reaches(sender, to, 1501), (sender, to)
        assert "mtu 1500" in learned(sender, to), "the router says what fits"


@pytest.mark.parametrize("client, server", [("hub", "far"), ("web-1", "far"), ("hub", "web-1")])
def test_a_stream_passes_though_both_ends_take_larger_packets_than_the_internet(
    lab: Lab, client: str, server: str
) -> None:
    one, other = connect(client, server, 8101)
    for sender, receiver in ((one, other), (other, one)):
        threading.Thread(target=sender.sendall, args=(bytes(BULK_BYTES),), daemon=True).start()
        got = 0
        while got < BULK_BYTES:
            part = receiver.recv(1 << 20)
            assert part, "closed"
            got += len(part)
    for end in (one, other):
        end.close()


def test_a_neighbour_whose_link_takes_less_is_sent_no_more_by_either_address(lab: Lab) -> None:
    faults.set_mtu(*STACK, "hub", 1400)
    for address in (private("hub"), public("hub")):
        assert reaches("web-1", address, 1400) and not reaches("web-1", address, 1401)
        assert "mtu 1400" in learned("web-1", address)
    faults.set_mtu(*STACK, "hub", 4000)
    underlay.inside(record().namespace(machine("web-1")), "ip", "route", "flush", "cache")
    assert reaches("web-1", private("hub"), 4000) and not reaches("web-1", private("hub"), 4001)
    assert reaches("web-1", public("hub"), 1500) and not reaches("web-1", public("hub"), 1501)


def test_a_silent_router_is_silent_about_both_addresses(lab: Lab) -> None:
    faults.set_mtu(*STACK, "hub", 1400, silent=True)
    for address in (private("hub"), public("hub")):
        assert not reaches("web-1", address, 1401)
        assert "mtu" not in learned("web-1", address)


def test_a_public_machine_made_anew_has_both_its_addresses_again(lab: Lab) -> None:
    before = machine("hub").addresses
    machines.terminate(*STACK, "hub")
    lab.launch("hub")
    assert machine("hub").addresses == before
    state = machines.read_machine(*STACK, machine("hub").id)
    assert state is not None and [state.address, state.private_address] == before
