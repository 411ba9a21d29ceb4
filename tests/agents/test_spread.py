"""Hosts spread over a hub's processes, and go round one that is dead."""

from collections import Counter
from types import SimpleNamespace

import pytest

from tests.agents.loading import load
from tests.agents.simulated import World, hub

choice, tunnels = load("choice"), load("tunnels")
PORTS = (1194, 1197, 1198, 1199)
FIRST_HOST = (10 << 24) + (100 << 16) + (1 << 8) + 1


def wide(number=1, ports=PORTS):
    one = hub(number)
    return tunnels.Hub(one.id, one.site, one.name, one.ipv4, one.endpoint, ports[0], one.tcp_port, ports[1:])


def port(which, seat, turn=0):
    return which.door("udp", seat, turn)[1]


def test_hosts_of_a_role_spread_evenly():
    assert Counter(port(wide(), FIRST_HOST + n) for n in range(40)) == dict.fromkeys(PORTS, 10)


def test_the_hosts_of_a_dead_process_spread_over_all_others():
    losers = [FIRST_HOST + 4 * n for n in range(200)]
    assert len({port(wide(), seat) for seat in losers}) == 1
    went = Counter(port(wide(), seat, 1) for seat in losers)
    assert set(went) == set(PORTS) - {port(wide(), losers[0])} and min(went.values()) > 40, went


def test_a_host_goes_through_all_processes_before_it_comes_to_its_own_again():
    for seat in range(8):
        assert {port(wide(), seat, turn) for turn in range(4)} == set(PORTS)
        assert port(wide(), seat, 4) == port(wide(), seat)


def test_tcp_is_one_process_for_all():
    assert {wide().door("tcp", seat, turn) for seat in range(9) for turn in range(3)} == {("203.0.113.1", 443)}


def test_what_an_older_hub_tells_is_a_hub_with_one_process():
    assert {port(hub(1), seat, turn) for seat in range(9) for turn in range(3)} == {1194}


WRONG = {
    "a directive": ["1197\nup /tmp/x"],
    "text": "1197",
    "a port too high": [70_000],
    "port 0": [0],
    "a truth value": [True],
    "more than a hub can have": list(range(2000, 2020)),
    "no list": 1197,
}


@pytest.mark.parametrize("ports", WRONG.values(), ids=WRONG)
def test_a_hub_that_was_taken_over_cannot_write_what_it_likes_into_ports(ports):
    with pytest.raises((ValueError, TypeError)):
        tunnels.Hub(1, "oregon", "a", "10.100.0.1", "203.0.113.1", 1194, 443, ports)


def seated(hubs, seat):
    world = World(hubs)
    world.choice.seat = seat
    return world


def opened(world, number):
    """Return the ports at which tunnels to a hub were opened, in order."""
    return [
        port(action.hub, world.choice.seat, action.turn)
        for _, action in world.history
        if isinstance(action, choice.Open) and action.hub.id == number and action.transport == "udp"
    ]


@pytest.mark.parametrize("seat", range(4))
def test_a_dead_process_is_gone_round_even_where_there_is_no_other_hub(seat):
    world = seated([wide()], seat)
    own = port(wide(), seat)
    # Of four processes the host's own is dead, and stays so: the hub's other ones take the host.
    behaviour = world.behaviour[1]
    behaviour.up = False
    world.until(lambda w: len(opened(w, 1)) == 2, 30)
    behaviour.up = True
    world.until(lambda w: w.active() is not None, 30)
    assert opened(world, 1)[0] == own and own not in opened(world, 1)[1:]


@pytest.mark.parametrize("number", [1, 2])
def test_a_host_goes_to_its_own_process_when_that_has_come_and_no_packet_is_lost(number):
    world = seated([wide(1), wide(2)], 2)
    own = port(wide(), 2)
    # It hears of the process before the process is there: at one of its two hubs, of which it prefers one.
    world.behaviour[number].dead_ports.add(own)
    world.until(lambda w: w.both() and w.choice.paths[w.choice.active].fit, 30)
    world.run(60)
    assert opened(world, number)[-1] != own
    world.behaviour[number].dead_ports.clear()
    before = world.now
    world.until(lambda w: opened(w, number)[-1] == own and w.both(), 2 * choice.HOME_SECONDS + 60)
    world.run(120)
    assert opened(world, number)[-1] == own and world.both()
    assert {action.reason for _, action in world.uses(before)} <= {"renewed", "better"}, "nothing was broken"


def test_a_process_that_stays_dead_is_tried_less_and_less():
    world = seated([wide(1), wide(2)], 2)
    own = port(wide(), 2)
    world.behaviour[1].dead_ports.add(own)
    world.run(600)
    early = opened(world, 1).count(own)
    world.run(5 * choice.MOST_HOME_SECONDS)
    late = opened(world, 1).count(own) - early
    assert early >= 3 and late <= 10, (early, late)
    assert {action.reason for _, action in world.uses(world.now - 600)} <= {"renewed", "better"}


def test_more_processes_move_those_hosts_only_whose_process_is_another_and_break_nothing():
    for seat in range(4):
        world = seated([wide(1, PORTS[:1]), wide(2, PORTS[:1])], seat)
        world.until(lambda w: w.both(), 30)
        before = len(world.history)
        world.choice.know([wide(1, PORTS[:2]), wide(2, PORTS[:2])])
        world.run(60)
        moved = [action for _, action in world.history[before:] if isinstance(action, choice.Open)]
        assert len(moved) == (2 if seat % 2 else 0), "each of its tunnels once, or none"
        assert world.both() and {port(path.hub, seat, path.turn) for path in world.choice.paths.values()} == {
            PORTS[seat % 2]
        }
        if moved:
            uses = [action.reason for _, action in world.history[before:] if isinstance(action, choice.Use)]
            assert uses[0] == "renewed", "traffic left before its tunnel was taken anew"


def test_a_hub_tells_its_sessions_by_process(monkeypatch):
    agent = load("hub")
    monkeypatch.setattr(agent.doors, "devices", lambda: ["hosts-tcp", "hosts-udp", "hosts-udp2"])
    route = "10.100.1.{}/32 unicast [hosts_kernel4 06:18:43.199] * (1006)\n\tdev {}\n"
    devices = ("hosts-udp", "hosts-udp2", "hosts-udp2", "hosts-tcp", "hosts-udp2")
    shown = "".join(route.format(n, device) for n, device in enumerate(devices, 1))
    one = object.__new__(agent.Hub)
    one.bird = SimpleNamespace(ask=lambda question: shown)
    one.guests = agent.Guests()
    assert one._carried() == (5, 0, 5)
    assert one._doors == {"tcp": 1, "udp": 1, "udp2": 3}, "hosts-udp is no part of hosts-udp2"
    assert agent.doors.by_transport(one._doors) == {"udp": 4, "tcp": 1}
