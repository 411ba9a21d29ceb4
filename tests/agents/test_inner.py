"""Hosts reach their own site's hubs by its own network: it may carry more, and it lives when the way out is lost."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from tests.agents.loading import load
from tests.agents.simulated import World, hub
from tests.agents.test_host_agent import RIGHT, agent, answered, host

assert host  # a fixture, used by name
choice, sizes, surveying, tunnels = load("choice"), load("sizes"), load("surveying"), load("tunnels")
INSIDE = {**RIGHT, "inner": "172.30.1.5", "more_ports": [1197]}


def inner(number):
    return tunnels.Hub(**{**vars(hub(number)), "inner": f"172.30.1.{number}"})


def test_a_host_of_the_site_goes_by_its_network_and_then_from_outside():
    known = tunnels.Hub.of(INSIDE, "paris")
    ways = [known.door("udp", 0, turn) for turn in range(4)]
    assert [address for address, _ in ways] == ["172.30.1.5"] * 2 + ["203.0.113.2"] * 2
    assert [port for _, port in ways] == [1194, 1197] * 2 and known.door("udp", 0, 4) == ways[0]
    assert known.door("tcp") == ("203.0.113.2", 443), "where UDP is blocked, what else works inside is not known"


@pytest.mark.parametrize("network", ["oregon", ""])
def test_another_sites_inner_address_is_a_strangers(network):
    known = tunnels.Hub.of(INSIDE, network)
    assert {known.door(transport, 0, turn)[0] for transport in ("udp", "tcp") for turn in range(4)} == {"203.0.113.2"}


def test_words_that_later_hubs_may_use_are_passed_over():
    assert tunnels.Hub.of({**RIGHT, "colour": "red"}, "oregon") == tunnels.Hub(**RIGHT)


def test_of_two_ways_to_a_hub_the_better_one_tells_how_it_is():
    both = {"172.30.1.5": 2, "203.0.113.2": 2}
    for told, seen in (
        ("172.30.1.5 : 0.2 0.3 -\n203.0.113.2 : 1.2 1.3 -\n", tunnels.Seen(0.0002)),
        ("172.30.1.5 : - - -\n203.0.113.2 : 1.2 1.3 -\n", tunnels.Seen(0.0012)),
        ("172.30.1.5 : 0.2 - -\n203.0.113.2 : - - -\n", tunnels.Seen(0.0002)),
        ("172.30.1.5 : - - -\n203.0.113.2 : - - -\n", tunnels.Seen(None)),
    ):
        assert tunnels.surveyed(told, both) == {2: seen}


def test_where_nothing_comes_through_inside_a_host_goes_from_outside_and_stays():
    world = World([inner(1), inner(2)])
    for behaviour in world.behaviour.values():
        behaviour.dead_addresses = {"172.30.1.1", "172.30.1.2"}
    world.until(World.both, 60)
    world.until(lambda w: all(path.transport == "udp" for path in w.choice.paths.values()) and w.both(), 600)
    assert {path.hub.door("udp", 0, path.turn)[0] for path in world.choice.paths.values()} <= {
        "203.0.113.1",
        "203.0.113.2",
    }


def test_a_host_hears_of_its_sites_other_hubs_inside(host):
    host.load_hubs()
    host.choice.paths[1].open(0.0, host.choice.hubs[1], "udp")
    host.choice.active = 1
    hubs = [{**RIGHT, "id": number, "site": site} for number, site in ((1, "oregon"), (3, "oregon"), (2, "paris"))]
    answered(host, number=4, elsewhere=3, hubs=hubs, inner={"1": "172.30.1.5", "2": "172.30.2.5"})
    assert {number: known.inner for number, known in host.choice.hubs.items()} == {1: "172.30.1.5", 2: "", 3: ""}
    remembered = json.loads(agent.KNOWN_HUBS.read_text())
    assert remembered[0]["inner"] == "172.30.1.5"


@pytest.fixture
def surveyor(monkeypatch):
    """Measures ways to two hubs of the site; `found` is what comes through."""
    known = choice.Choice("web-1", "oregon")
    known.know([inner(1), inner(2), hub(3, "paris")])
    made = surveying.Surveyor(known, (8800, 1400))
    made.found = {"172.30.1.1": 8800, "172.30.1.2": 1400}

    async def largest(address, sizes):
        return made.found[address]

    monkeypatch.setattr(sizes, "largest", largest)
    made.measure = lambda: asyncio.run(made._measure(list(known.hubs.values())))
    made.path = lambda number, transport="udp", turn=0: SimpleNamespace(
        hub=known.hubs.get(number), transport=transport, turn=turn
    )
    return made


def test_packets_are_as_large_as_the_way_that_they_take_carries(surveyor):
    assert surveyor.mtu_bytes(surveyor.path(1)) == 1400, "nothing is known yet"
    surveyor.measure()
    sizes_found = [surveyor.mtu_bytes(surveyor.path(number)) for number in (1, 2, 3, 9)]
    assert sizes_found == [8800, 1400, 1400, 1400]
    assert surveyor.mtu_bytes(surveyor.path(1, turn=1)) == 1400, "from outside"
    assert surveyor.mtu_bytes(surveyor.path(1, "tcp")) == 1400, "TCP splits what is sent"


def test_a_hub_that_does_not_answer_for_a_moment_changes_no_size(surveyor):
    surveyor.measure()
    surveyor.found["172.30.1.1"] = None
    surveyor.measure()
    assert surveyor.mtu_bytes(surveyor.path(1)) == 8800
    surveyor.found["172.30.1.1"] = 1400
    surveyor.measure()
    assert surveyor.mtu_bytes(surveyor.path(1)) == 1400


def test_a_route_becomes_wider_when_its_way_does_and_the_hub_is_told(host, monkeypatch):
    routed, asked = [], []

    async def route(path):
        host._mtu_bytes = host._surveyor.mtu_bytes(path)
        routed.append(host._mtu_bytes)

    monkeypatch.setattr(host, "_route", route)
    monkeypatch.setattr(host, "_say", lambda path, question: asked.append(question["mtu"]))
    host.load_hubs()
    host.choice.know([tunnels.Hub.of({**INSIDE, "id": 1, "site": "oregon", "more_ports": []}, "oregon")])
    host.choice.paths[1].open(0.0, host.choice.hubs[1], "udp")
    asyncio.run(host._widen())
    assert not routed, "no traffic yet"
    host.choice.active = 1
    asyncio.run(host._widen())
    asyncio.run(host._widen())
    assert routed == [1400], "the agent before may have left a route that says nothing of it"
    host._surveyor._found["172.30.1.5"] = 8800
    asyncio.run(host._widen())
    asyncio.run(host._widen())
    assert routed == asked == [1400, 8800]
