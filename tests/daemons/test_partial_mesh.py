"""Large networks lean on a core of hubs: real BIRDs, each in a network namespace, as the program configures them."""

import os
import shutil

import pytest

from tests.daemons.routed import seen_apart

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps daemons, out of a plain user's PATH
lacking = [program for program in ("bird", "unshare", "ip", "ping") if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}")
BFD_SECONDS = 0.3  # to notice a death
PING_SECONDS = 0.01


@pytest.fixture(scope="module")
def seen():
    return seen_apart("tests.daemons.leaning", seconds=90)


def test_a_host_at_one_leaf_is_known_at_all_hubs_with_its_number(seen):
    for address in ("10.100.1.1", "10.100.1.3", "10.100.1.4"):
        assert {number for number, _ in seen[address].values()} == {2}
    assert seen["10.100.1.3"]["3"][1] == [], "its own host"
    assert seen["10.100.1.3"]["1"][1] == seen["10.100.1.3"]["2"][1] == [3]
    for leaf in ("4", "5"):
        first, *rest = seen["10.100.1.3"][leaf][1]
        assert first in (1, 2) and rest == [3], "leaves reach each other by the core"


def test_two_hubs_of_one_site_reach_each_other_directly(seen):
    assert seen["10.100.1.4"]["5"][1] == [4]


def test_a_host_that_moves_is_followed_by_all_hubs_across_the_core(seen):
    assert {number for number, _ in seen["moved"].values()} == {8}
    origins = {hub: path[-1:] for hub, (_, path) in seen["moved"].items()}
    assert origins.pop("5") == [] and all(origin == [5] for origin in origins.values()), "the hub that it left as well"


def test_no_leaf_is_a_way_through_for_the_core(seen):
    assert seen["through leaves"] == [], "the core would hold a path to every host by every leaf"


def test_traffic_between_leaves_outlives_the_hub_of_the_core_that_carries_it(seen):
    assert seen["lost, all well"] == 0
    assert seen["lost, a hub of the core died"] * PING_SECONDS < BFD_SECONDS + 0.4
    assert {path[-1] for hub, (_, path) in seen["after a death"].items() if hub != "4"} == {4}


def test_a_leaf_without_a_link_to_the_core_is_reached_by_its_sites_other_hub(seen):
    assert seen["lost, a leaf's last link to the core cut"] * PING_SECONDS < BFD_SECONDS + 0.4
    assert seen["after a cut"]["3"][1][-2:] == [5, 4]


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel gives BIRD its large buffer for root only")
def test_hosts_that_come_all_at_once_do_not_wait_for_the_next_look_at_the_kernels_routes(seen):
    """BIRD looks at all routes each ten seconds; what it is told in between must not be lost."""
    assert seen["burst s"] < 3


def test_many_hubs_agree_at_once_when_one_of_them_dies():
    """Each knows a way by each other, and they must not try them all."""
    seen = seen_apart("tests.daemons.dying")
    # From each other hub: the way by it goes, and its own host comes or the way to another's.
    assert seen["messages"] < 4 * seen["hubs"], "for each host at each hub: the hunt for a way to a hub that is dead"
    assert seen["seconds"] < 10
