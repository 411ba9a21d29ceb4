"""Two hosts' tunnel in simulated time: how it comes, what ends it, and that traffic goes by hubs at the first doubt."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.agents.loading import load
from tests.agents.two_hosts import LOOK_SECONDS, MUCH, ONE, PORTS, PUBLIC, TWO, World, kinds

shortcuts, straight, arranging, signals = load("shortcuts"), load("straight"), load("arranging"), load("signals")


@pytest.mark.parametrize("who", [{ONE: MUCH}, {TWO: MUCH}, {ONE: MUCH, TWO: MUCH}])
def test_who_sends_much_gets_a_tunnel_within_seconds(who):
    world = World(talk=who)
    assert world.until(world.both) < 10
    world.run(300)
    assert world.both() and len(kinds(world.history, straight.Start)) == 2, (
        "both asked at once: one tunnel all the same"
    )


def test_who_sends_little_gets_none():
    world = World(talk={ONE: 900_000})
    world.run(120)
    assert world.history == []


@pytest.mark.parametrize(
    "asker, asked, listener, address",
    [
        (("s", "10.3.0.1", ""), ("s", "10.3.0.2", ""), TWO, "10.3.0.2"),
        (("s", "10.3.0.1", "203.0.113.1"), ("s", "10.3.0.2", "203.0.113.2"), TWO, "10.3.0.2"),
        (("s", "10.3.0.1", ""), ("t", "10.3.0.2", "203.0.113.2"), TWO, "203.0.113.2"),
        (("s", "10.3.0.1", "203.0.113.1"), ("t", "10.3.0.2", ""), ONE, "203.0.113.1"),
        (("s", "", "203.0.113.1"), ("s", "10.3.0.2", ""), ONE, "203.0.113.1"),
    ],
)
def test_the_one_that_can_be_dialled_listens(asker, asked, listener, address):
    world = World(places=(asker, asked)).open()
    started = {host: action for _, host, action in kinds(world.history, straight.Start)}
    assert started[listener].listen and not started[ONE + TWO - listener].listen
    assert started[ONE + TWO - listener].address == address


@pytest.mark.parametrize(
    "asker, asked, ways",
    [
        (("s", "10.3.0.1", ""), ("s", "10.3.0.2", "203.0.113.2"), ("10.3.0.2", "10.3.0.1")),
        (("s", "10.3.0.1", "203.0.113.1"), ("t", "10.3.0.2", "203.0.113.2"), ("203.0.113.2", "")),
        (("s", "10.3.0.1", "203.0.113.1"), ("t", "10.3.0.2", ""), ("", "203.0.113.1")),
    ],
)
def test_both_ends_know_by_which_way_packets_may_be_large(asker, asked, ways):
    world = World(places=(asker, asked)).open()
    assert tuple(next(iter(world.hosts[host].tunnels.values())).towards for host in (ONE, TWO)) == ways


def test_two_behind_different_nats_have_none_and_ask_rarely():
    world = World(places=(("s", "10.3.0.1", ""), ("t", "10.3.0.2", "")), talk={ONE: MUCH})
    world.run(3600)
    assert world.history == []
    assert world.hosts[ONE].arranging.refused[TWO].pause >= arranging.RARELY_SECONDS


def test_silence_sends_traffic_by_hubs_in_less_than_half_a_second_and_then_ends_the_tunnel():
    world = World().open()
    world.run(5)
    world.way = False
    assert world.until(lambda: not world.in_use()) < 0.45
    assert world.until(lambda: not world.running) < 15
    world.way = True
    assert world.until(world.both, 60) > 5


def test_a_tunnel_that_breaks_again_and_again_is_used_less_and_less():
    world = World().open()
    used = []
    for _ in range(4):
        world.way = False
        world.run(2)
        world.way = True
        used.append(world.until(world.both))
    assert used == sorted(used) and used[-1] > 3 * used[0], used


def test_a_host_that_sends_more_than_its_tunnel_takes_keeps_it_and_leaves_it_when_it_dies():
    world = World().open()
    world.run(5)
    world.flood = True
    world.run(120)
    assert ONE in world.in_use() and not [1 for _, host, _ in kinds(world.history, straight.Leave) if host == ONE]
    world.way = False
    assert world.until(lambda: ONE not in world.in_use()) < 1.6, "at most what a lossy way is given"


def test_a_lost_probe_now_and_then_moves_nobody():
    world = World(loss=0.05, seed=3).open()
    world.run(600)
    assert len(kinds(world.history, straight.Leave)) <= 2


@pytest.mark.parametrize("word", ["hubs carry neither", "one is revoked"])
def test_a_peer_that_hubs_carry_no_more_loses_its_tunnel_in_seconds(word):
    world = World().open()
    world.run(5)
    world.hubs = False  # the tunnel itself goes on
    assert world.until(lambda: not world.running) <= shortcuts.VOUCH_SECONDS + shortcuts.HELLO_SECONDS + 0.1
    world.run(120)
    assert not world.running, "who is not carried cannot ask"


def test_a_fail_over_between_hubs_ends_no_tunnel():
    world = World().open()
    world.hubs = False
    world.run(3)
    world.hubs = True
    world.run(30)
    assert world.both() and not kinds(world.history, straight.Stop)


def test_an_idle_tunnel_ends_when_both_have_no_use_for_it():
    world = World().open()
    world.talk = {TWO: shortcuts.LITTLE_BYTES}
    world.run(300)
    assert world.both(), "the other end has"
    world.talk = {}
    assert world.until(lambda: not world.running, 400) > straight.IDLE_SECONDS - LOOK_SECONDS
    assert not world.hosts[ONE].arranging.refused, "it may come back at once"


def test_an_openvpn_that_ends_ends_both_ends_and_another_comes():
    world = World().open()
    slot = next(slot for host, slot in world.running if host == TWO)
    world._do(TWO, world.hosts[TWO].gone(world.now, slot))
    assert world.until(lambda: not world.running) < 0.2
    assert world.until(world.both, 40) > 5


def test_an_agent_that_begins_anew_is_answered():
    world = World().open()
    place = PUBLIC[0]
    world.hosts[ONE] = shortcuts.Shortcuts(ONE, *place, PORTS, lambda size: "e" * 2 * size)
    world.running = {key: one for key, one in world.running.items() if key[0] == TWO}
    world.until(lambda: ONE not in world.in_use())
    assert world.until(world.both, 60) < 30


def test_a_computer_that_stood_still_leaves_no_tunnel_for_that():
    world = World().open()
    world.run(5)
    world.now += 1.5  # this host, and the one with which it speaks
    world.run(2)
    assert not kinds(world.history, straight.Leave)


def test_there_are_never_more_than_eight():
    agent = shortcuts.Shortcuts(ONE, *PUBLIC[0], PORTS, lambda size: "a" * 2 * size)
    talk = {ONE + number: MUCH for number in range(1, 30)}
    asked = agent.talked(100.0, talk)
    assert len(asked) == shortcuts.SLOTS
    for number in range(1, 30):
        agent.heard(100.1, ONE + number, signals.Ask(f"{number:016x}", "paris", "", "203.0.113.7", 0))
    assert len(agent.tunnels) == shortcuts.SLOTS
    ports = [tunnel.port for tunnel in agent.tunnels.values()]
    assert len(set(ports)) == len(ports)


def test_a_host_that_does_nothing_but_ask_does_not_have_programs_started_all_the_while():
    agent = shortcuts.Shortcuts(ONE, *PUBLIC[0], PORTS, lambda size: "a" * 2 * size)
    started = 0
    for number in range(1200):
        ask = signals.Ask(f"{number:016x}", "paris", "", "203.0.113.7", 0)
        actions = agent.heard(100 + number / 2, TWO, ask) + agent.step(100 + number / 2)
        started += sum(isinstance(action, straight.Start) for action in actions)
    assert started <= 10, "in ten minutes"


def test_pauses_grow_for_a_host_that_answers_nothing():
    world = World(talk={ONE: MUCH})
    world.hubs = False
    times = []
    before = world.hosts[ONE].arranging.want

    def want(now, peer):
        ask = before(now, peer)
        times.extend([now] if ask else [])
        return ask

    world.hosts[ONE].arranging.want = want
    world.run(7200)
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert pauses == sorted(pauses) and pauses[-1] >= arranging.LONGEST_PAUSE_SECONDS and len(times) < 15


def test_what_is_told_is_told_to_people_and_to_prometheus(tmp_path):
    showing = load("showing")
    world = World().open()
    world.run(3)
    shown = showing.Showing(tmp_path)
    shown.write(world.now, world.hosts[ONE])
    (tunnel,) = json.loads((tmp_path / "state.json").read_text())["tunnels"].values()
    assert (tunnel["peer"], tunnel["in_use"], tunnel["listens"]) == ("10.100.1.2", True, False)
    page = (tmp_path / "vcubev.prom").read_text()
    assert 'vcubev_direct_in_use{peer="10.100.1.2"} 1\n' in page
    assert 'vcubev_direct_events_total{what="used"} 1\n' in page
    told = {line.partition("{")[0] for line in page.splitlines() if not line.startswith("#")}
    assert told == {name for name in load("metrics").KINDS if name.startswith("vcubev_direct_")}
    shown.write(world.now + 10, shortcuts.Shortcuts(ONE, *PUBLIC[0], PORTS, lambda size: "a" * 2 * size))
    assert "in_use" not in (tmp_path / "vcubev.prom").read_text(), "there is none"
