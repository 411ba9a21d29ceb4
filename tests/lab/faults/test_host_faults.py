"""A host, one of its processes or its way to one hub fails."""

import pytest

from tests.lab.faults.world import HOME_SECONDS

pytestmark = [pytest.mark.lab, pytest.mark.alone]
HOST = "web-1"
PRIVATE = "db-1"
STILL_SECONDS = 0.8
MOVED = "web-2"  # not one of the watched, which stay where they are


def test_traffic_goes_on_when_the_tunnel_in_use_is_killed(world):
    unit = f"vcubev-path@{world.state(HOST)['active']}.service"
    world.measure("host: tunnel killed", lambda: world.kill(HOST, unit)).check()
    world.agree()


def test_nothing_is_lost_when_the_agent_of_a_host_is_killed(world):
    # A hub that has failed is avoided for a while: the agent knows no more of it once it begins anew.
    site = world.hosts[HOST]["site"]
    away = lambda: [hub for hub in world.hubs_of(HOST) if not hub.startswith(f"{site}/")]  # noqa: E731
    world.until(away, HOME_SECONDS, "a tunnel is not home")
    before = world.state(HOST)
    done = world.measure("host: agent killed", lambda: world.kill(HOST, "vcubev-paths.service")).check()
    assert not done.hit, "tunnels go on without it"
    after = world.state(HOST)
    assert [path["hub"] for path in after["paths"].values()] == [path["hub"] for path in before["paths"].values()]
    world.agree()


def test_a_host_whose_computer_stood_still_for_a_moment_leaves_a_dead_hub_as_soon_as_others(world):
    """Probes that were never sent are not lost. Taken for silence, it would leave at once; for loss, wait for 1.4 s."""
    hub = world.hubs_of(HOST)[0]

    def fault():
        stop, go_on = (f"systemctl kill --signal={signal} vcubev-paths.service" for signal in ("STOP", "CONT"))
        world.run(HOST, f"{stop} && sleep {STILL_SECONDS} && {go_on} && sleep 1")
        assert world.hubs_of(HOST)[0] == hub, "it left, and nobody had died"
        world.lab("cut", HOST, "--from", hub)

    world.measure("host: stood still, then path cut", fault, after=6).check()
    world.agree()


@pytest.mark.parametrize("host", [HOST, PRIVATE])
def test_traffic_leaves_a_hub_that_a_host_does_not_reach_any_more(world, host):
    hub = world.hubs_of(host)[0]
    world.measure(f"path: cut ({host})", lambda: world.lab("cut", host, "--from", hub)).check()
    world.agree()


@pytest.mark.parametrize("sender", ["host", "hub"])
def test_traffic_leaves_a_path_that_is_silent_in_one_direction_only(world, sender):
    hub = world.hubs_of(HOST)[0]
    one, other = (HOST, hub) if sender == "host" else (hub, HOST)
    cut = lambda: world.lab("cut", one, "--from", other, "--one-way")  # noqa: E731
    world.measure(f"path: one way, from the {sender}", cut).check()
    world.agree()


def test_a_host_without_power_is_forgotten_and_found_again_when_it_has_it(world):
    done = world.measure("host: power off", lambda: world.lab("power-off", PRIVATE), dead=[PRIVATE]).check()
    assert not done.hit, "it carried nobody's traffic but its own"
    world.agree()
    done = world.measure("host: back", lambda: world.lab("start", PRIVATE), dead=[PRIVATE], after=6).check()
    assert not done.hit
    world.agree()
    assert world.reaches("web-4", PRIVATE)


def test_a_host_that_is_rebuilt_at_another_site_is_reached_there_by_its_address_and_nowhere_else(world):
    before = world.hosts[MOVED]
    site = next(name for name in ("tokyo", "oregon") if name != before["site"])
    world.lab("terminate", MOVED)

    def move(config):
        sites = config["vcubev:sites"]
        sites[site]["hosts"][MOVED] = sites[before["site"]]["hosts"].pop(MOVED)

    world.tree.edit(move)
    done = world.tree.up()
    assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-2000:]}"
    world.read_outputs()
    after = world.hosts[MOVED]
    assert (after["ipv4"], after["ipv6"], after["site"]) == (before["ipv4"], before["ipv6"], site)
    world.settle()
    for host in (HOST, PRIVATE, "web-4"):
        assert world.reaches(host, MOVED)
