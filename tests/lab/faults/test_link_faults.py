"""Links between hubs fail; traffic goes round by another hub."""

import time

import pytest

from tests.lab.faults.outcome import Stream
from tests.lab.faults.watching import STREAMS

pytestmark = [pytest.mark.lab, pytest.mark.alone]


@pytest.fixture
def link(world):
    """The two hubs between which most of the watched traffic passes."""
    return world.busiest_link()


def test_traffic_goes_round_when_the_process_of_a_link_is_killed(world, link):
    one, other = link
    unit = f"vcubev-link@{world.hubs[other]['id']}.service"
    world.measure("link: process killed", lambda: world.kill(one, unit)).check()
    world.agree()


def test_traffic_goes_round_when_the_way_between_two_hubs_is_cut_and_does_not_notice_its_return(world, link):
    one, other = link
    world.measure("link: cut", lambda: world.lab("cut", one, "--from", other)).check()
    world.agree()
    done = world.measure("link: back from cut", lambda: world.lab("restore", one), after=5).check()
    assert not done.hit, "the way round is as good as the link until that is up again"
    world.agree()


def test_both_halves_of_a_partitioned_network_go_on_by_themselves_and_heal(world):
    # As when an ocean's cable breaks: the sites of one side do not reach those of the other at all.
    members = {**world.hubs, **world.hosts}
    here = [name for name, member in members.items() if member["site"] == "oregon"]
    there = [name for name in members if name not in here]
    within = (Stream("web-1", "db-1", sender="db-1"), Stream("web-3", "web-4", sender="web-3", family="ipv6"))
    world.be_home()

    def part_and_heal():
        for name in here:
            # Hosts have nothing to say to each other but by hubs.
            world.lab(
                "cut",
                name,
                *(option for other in there if {name, other} & {*world.hubs} for option in ("--from", other)),
            )
        time.sleep(5)
        for name in here:
            world.lab("restore", name)
        world.told.append(f"mesh: {world.until(world.disagreements, 15, 'not healed'):.1f} s from healing to agreement")

    # Streams between the halves are only held up, though by up to twice as long.
    world.measure(
        "mesh: partition and healing", part_and_heal, after=17, apart=(here, there), streams=STREAMS + within
    ).check()
    world.agree()
