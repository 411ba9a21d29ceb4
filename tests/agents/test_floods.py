"""More is sent into a tunnel than it takes: its probes are lost in its own device."""

import pytest

from tests.agents.loading import load
from tests.agents.simulated import World, hub

floods, tunnels = load("floods"), load("tunnels")


@pytest.fixture
def device(tmp_path, monkeypatch):
    """Return what sets a device's counters, lets 0.1 s pass and tells whether its path is flooded since."""
    clock, path = {"now": 100.0}, tunnels.Path(1)
    monkeypatch.setattr(floods, "NETWORK", tmp_path)
    monkeypatch.setattr(floods.time, "monotonic", lambda: clock["now"])
    looked_at = floods.Floods()
    directory = tmp_path / "path1" / "statistics"

    def count(taken, dropped):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tx_packets").write_text(f"{taken}\n")
        (directory / "tx_dropped").write_text(f"{dropped}\n")
        clock["now"] += 0.1
        looked_at.look({1: path})
        return path.flooded == clock["now"]

    return count


def test_a_device_that_drops_packets_while_it_takes_others_is_flooded(device):
    assert [device(10, 5), device(20, 5), device(30, 9), device(40, 9)] == [False, False, True, False]


def test_a_device_that_takes_none_has_no_openvpn(device):
    assert [device(10, 5), device(10, 9), device(10, 14)] == [False, False, False]
    assert [device(0, 0), device(1, 1)] == [False, True], "it was made anew"


def settled():
    world = World([hub(1), hub(2)])
    world.until(lambda w: w.active() is not None and w.both())
    world.run(60)
    return world


def flood(world, seconds, flooded):
    """Let nine of ten probes of the tunnel in use be lost for a while; return what the host did."""
    before, end = len(world.history), world.now + seconds
    at = world.behaviour[world.active().id]
    at.loss = 0.7  # each way
    path = world.choice.paths[world.choice.active]
    while world.now < end:
        if flooded:
            path.flooded = world.now
        world.run(0.05)
    at.loss = 0
    return world.history[before:]


def test_a_host_that_floods_its_own_tunnel_stays_in_it():
    world = settled()
    assert flood(world, 20, flooded=True) == []
    world.run(20)
    assert world.choice.paths[world.choice.active].loss == 0, "what was lost then says nothing of the way"
    assert flood(settled(), 20, flooded=False), "without a flood such a tunnel is left"


def test_a_hub_that_dies_meanwhile_is_left_all_the_same():
    world = settled()
    dead, path = world.active(), world.choice.paths[world.choice.active]
    world.behaviour[dead.id].up = False

    def left(world):
        path.flooded = world.now
        return world.active() != dead

    assert world.until(left) <= tunnels.FLOOD_SECONDS + 0.5
