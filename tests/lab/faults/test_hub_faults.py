"""A hub, or one of its processes, dies under running traffic, or is drained."""

import pytest

pytestmark = pytest.mark.lab
HOSTS_UNITS = ("vcubev-hosts@udp.service", "vcubev-hosts@tcp.service")
BIRD = "bird.service"


@pytest.fixture
def hub(world):
    """The hub that carries most of the traffic that is watched."""
    return world.carriers()[0]


@pytest.mark.parametrize(
    ("fault", "units"),
    [("OpenVPN killed", HOSTS_UNITS), ("BIRD killed", (BIRD,)), ("OpenVPN and BIRD killed", (*HOSTS_UNITS, BIRD))],
    ids=["openvpn", "bird", "both"],
)
def test_traffic_goes_on_when_daemons_of_a_hub_are_killed(world, hub, fault, units):
    world.measure(f"hub: {fault}", lambda: world.kill(hub, *units)).check()
    world.agree()


def test_nothing_is_lost_when_the_agent_of_a_hub_is_killed(world, hub):
    done = world.measure("hub: agent killed", lambda: world.kill(hub, "vcubev-hub.service")).check()
    assert not done.hit, "the agent carries nothing"
    world.agree()


def test_traffic_moves_to_other_hubs_when_a_hub_loses_power_and_does_not_notice_its_return(world, hub):
    world.measure("hub: power off", lambda: world.lab("power-off", hub)).check()
    world.agree()
    done = world.measure("hub: back from power off", lambda: world.lab("start", hub), after=8).check()
    assert not done.hit, "nobody has to go back to it at once"
    world.agree()


def test_traffic_moves_to_other_hubs_when_a_hub_becomes_a_black_hole_and_does_not_notice_its_return(world, hub):
    world.measure("hub: black hole", lambda: world.lab("cut", hub)).check()
    world.agree(dead=[hub])
    done = world.measure("hub: back from black hole", lambda: world.lab("restore", hub), after=6).check()
    assert not done.hit, "nobody has to go back to it at once"
    world.agree()


def test_a_drained_hub_loses_its_hosts_without_losing_a_packet_and_they_come_back_so(world, hub):
    at_home = [host for host in world.hosts if world.hubs_of(host)[0] == hub]

    def drain(*options):
        # Politely: this computer's two cores are the network as well.
        done = world.tree.run("nice", "-n19", "./scripts/drain", hub, "--stack", world.tree.stack, *options)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout}{done.stderr}"

    done = world.measure("hub: drained", drain).check()
    assert done.lost_packets == 0, done
    left = world.hub_state(hub)
    assert (left["preferred"], left["carried"]) == (0, 0), left
    world.agree()

    def undo():
        drain("--undo")
        world.until(lambda: all(world.hubs_of(host)[0] != hub for host in at_home), 60, "nobody has come back")

    done = world.measure("hub: drain undone", undo).check()
    assert done.lost_packets == 0, done
    world.agree()
