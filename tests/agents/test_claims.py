"""Whose claim counts, and what it does."""

import json

import pytest

from tests.agents.test_hub import INTERFACES, agent, claiming, hub, told

assert hub and agent  # the first is a fixture, used by name

CLAIMS = [
    (4, (3,), 4, "the highest place has the traffic already"),
    (3, (4,), 6, "past all others, with room for a spare"),
    (4, (4,), 6, "of equal ones nobody knows which is newer"),
    (1, (), 2, "1 has no room for a spare below it"),
    (1, (9, 5, 9), 11, "past the highest"),
]


@pytest.mark.parametrize("own, others, number, reason", CLAIMS)
def test_a_claim_moves_the_number_past_every_other_place(hub, own, others, number, reason):
    hub.bird.route = told(own, others)
    answer = json.loads(hub.answer(b'{"claim": true, "nonce": "7"}', "10.100.1.1"))
    assert answer["number"] == number and answer["nonce"] == "7", reason
    both = ("10.100.1.1", "fd5c:ab1e:0:1::1")
    moves = [(100, address, INTERFACES["hosts-udp"], own, number, 1400) for address in both]
    assert hub.done == ([] if number == own else moves), "a claim that is true already must change nothing"


def test_a_claim_of_a_host_that_has_just_moved_to_another_process_is_not_confirmed(hub):
    hub.bird.route, hub.table.there = told(3, (4,)), False
    answer = json.loads(hub.answer(b'{"claim": true}', "10.100.1.1"))
    assert answer["number"] is None, "it asks again in a moment, when BIRD has heard of it"


def test_a_claim_that_the_kernel_refuses_is_not_confirmed_and_the_next_one_is_served(hub, monkeypatch):
    hub.bird.route = told(3, (4,))

    def refuse(*_):
        raise OSError(19, "no such device")

    monkeypatch.setattr(claiming.socket, "if_nametoindex", refuse)
    assert json.loads(hub.answer(b'{"claim": true}', "10.100.1.1"))["number"] is None


def test_a_claim_goes_past_the_number_of_a_hub_that_is_out_of_sight(hub):
    hub.bird.route = told(3, ())
    answer = json.loads(hub.answer(b'{"claim": true, "above": 4}', "10.100.1.1"))
    assert answer["number"] == 6, "it would win when it comes back, with nobody behind it"
    hub.bird.route = told(6, ())
    assert json.loads(hub.answer(b'{"claim": true, "above": 4}', "10.100.1.1"))["number"] == 6, "asked again"


@pytest.mark.parametrize(
    "own, others, confirmed, number, reason",
    [
        (4, (6,), 4, 4, "whoever is past it came later: claiming back would go on for ever"),
        (3, (6,), 4, 8, "the tunnel was made anew and became a spare, but the host still sends by it"),
        (4, (4,), 4, 6, "of equal ones nobody knows which is newer"),
        (4, (6,), 0, 8, "it has just taken this tunnel: it is the newer"),
        (4, (6,), True, 8, "nonsense counts for nothing"),
    ],
)
def test_a_host_whose_identity_another_machine_took_does_not_claim_it_back(hub, own, others, confirmed, number, reason):
    hub.bird.route = told(own, others)
    question = json.dumps({"claim": True, "confirmed": confirmed}).encode()
    answer = json.loads(hub.answer(question, "10.100.1.1"))
    assert (answer["number"], answer["elsewhere"]) == (number, max(others)), reason


SIZES = [
    (8800, 8800, "as the host has found"),
    (1400, 1400, "as everywhere"),
    (1399, 1400, "less is no size of a tunnel"),
    (8801, 1400, "more than OpenVPN's buffers hold"),
    (True, 1400, "nonsense"),
    ("8800", 1400, "nonsense"),
    (None, 1400, "a host that knows of no sizes"),
]


@pytest.mark.parametrize("said, size, reason", SIZES)
def test_packets_to_a_host_are_as_large_as_it_says_that_its_tunnel_takes_and_never_larger(hub, said, size, reason):
    hub.bird.route = told(3, (4,))
    hub.answer(json.dumps({"claim": True, "mtu": said}).encode(), "10.100.1.1")
    assert [done[-1] for done in hub.done] == [size, size], reason


def test_a_host_that_stays_may_have_larger_packets_from_now_on_or_smaller(hub):
    both = ("10.100.1.1", "fd5c:ab1e:0:1::1")
    for before, now in ((1400, 8800), (8800, 1400)):
        hub.bird.route = told(4, (3,), before)
        for _ in range(2):
            hub.done.clear()
            answer = json.loads(hub.answer(json.dumps({"claim": True, "mtu": now}).encode(), "10.100.1.1"))
            assert answer["number"] == 4
            assert hub.done == [(100, address, INTERFACES["hosts-udp"], 4, now) for address in both]
        hub.bird.route = told(4, (3,), now)
        hub.done.clear()
        hub.answer(json.dumps({"claim": True, "mtu": now}).encode(), "10.100.1.1")
        assert not hub.done, "nothing is written that stands already"
