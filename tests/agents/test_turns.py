"""When a host's tunnels are taken anew: whose answers count, and that no tunnel is taken for its successor."""

import os

import pytest

from tests.agents.loading import load

turns = load("turns")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where options and marks stand."""
    monkeypatch.setattr(turns, "STARTED", str(tmp_path / "{path}-{mark}"))
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """The tunnels for which systemd was asked for a turn."""
    tunnels = []
    monkeypatch.setattr(turns, "turn", tunnels.append)
    return tunnels


def start(place, options=None):
    """OpenVPN starts with what stands in its file now, or stood there."""
    options = options or (place / "2.conf").read_text()
    (place / options.split("writepid ")[1].strip()).touch()


def test_a_tunnel_is_taken_anew_by_whoever_may_and_an_agent_that_finds_nobody_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "TURN", str(tmp_path / "turn-{path}"))
    turns.turn(2)
    os.mkfifo(tmp_path / "turn-2")
    turns.turn(2)  # nobody has it open: a writer would wait for ever
    reader = os.open(tmp_path / "turn-2", os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(2):
        turns.turn(2)
    assert os.read(reader, 100) == b"\n\n", "one line each time"
    os.close(reader)


def test_answers_of_the_tunnel_before_are_not_taken_for_the_new_ones(place, asked):
    """A restart takes a moment, in which the old tunnel answers still: traffic that went there would be lost."""
    all_turns = turns.Turns(place)
    assert not all_turns.is_old(2), "a tunnel that another agent has left is what it is"
    all_turns.take(0, 2, ["remote 203.0.113.1 1194"])
    assert all_turns.is_old(2) and not all_turns.is_old(1)
    start(place)
    assert not all_turns.is_old(2)


def test_a_tunnel_that_starts_while_another_turn_is_asked_for_does_not_get_the_traffic_to_lose_it_at_once(place, asked):
    """A tunnel that is about to start would read the options of the turn that ends it."""
    all_turns = turns.Turns(place)
    all_turns.take(0, 2, ["remote 203.0.113.1 1194"])
    first = (place / "2.conf").read_text()
    for port in (1197, 1198):
        all_turns.take(0.2, 2, [f"remote 203.0.113.1 {port}"])
    all_turns.go_on(0.3)
    assert (place / "2.conf").read_text() == first and asked == [2]
    start(place)
    assert all_turns.is_old(2), "it has just come, and will end"
    all_turns.go_on(0.4)
    assert "1198" in (place / "2.conf").read_text() and asked == [2, 2], "the last word counts"
    start(place, first)
    assert all_turns.is_old(2)
    start(place)
    assert not all_turns.is_old(2)


def test_a_turn_that_never_comes_holds_up_the_next_for_as_long_as_systemd_lets_it_take(place, asked):
    all_turns = turns.Turns(place)
    all_turns.take(0, 2, ["remote 203.0.113.1 1194"])
    all_turns.take(5, 2, ["remote 203.0.113.2 1194"])
    all_turns.take(5, 1, ["remote 203.0.113.2 1194"])
    assert asked == [2, 1], "each tunnel has turns of its own"
    all_turns.go_on(turns.LONGEST_SECONDS)
    assert asked == [2, 1, 2] and all_turns.is_old(2)
