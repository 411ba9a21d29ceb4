"""Where a new site would do best: the ranking is a pure function."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.cli.place import Offer, Wish, farthest, offers, parsed, rank
from tests.scripts.test_cost import FACTS, tables, topology  # noqa: F401

CHEAP = Offer("x", "far-away", "small", 1, 1, 5.0)
NEAR = Offer("y", "near-by", "small", 1, 1, 7.0)
OTHER = Offer("y", "unmeasured", "small", 1, 1, 6.0)
DISTANCES = {("x", "far-away"): 120.0, ("y", "near-by"): 20.0}


def order(ranked):
    return [one.offer.region for one in ranked]


def test_price_alone_decides_where_nothing_is_measured():
    assert order(rank([NEAR, CHEAP, OTHER], {})) == ["far-away", "unmeasured", "near-by"]


def test_a_short_way_outweighs_a_small_price():
    assert order(rank([NEAR, CHEAP], DISTANCES)) == ["near-by", "far-away"]
    assert order(rank([NEAR, CHEAP], DISTANCES, usd_per_ms=0)) == ["far-away", "near-by"]


def test_a_region_that_nobody_measured_is_neither_praised_nor_blamed():
    ranked = rank([NEAR, CHEAP, OTHER], DISTANCES)
    assert order(ranked) == ["near-by", "unmeasured", "far-away"]
    assert [one.round_trip_ms for one in ranked] == [20.0, None, 120.0]


def test_a_region_shows_its_cheapest_size_and_of_equals_the_largest():
    sizes = [Offer("x", "r", "a", 1, 1, 5.0), Offer("x", "r", "b", 2, 4, 5.0), Offer("x", "r", "c", 4, 8, 9.0)]
    assert [one.offer.size for one in rank(sizes, {})] == ["b"]


OFFERS = st.builds(
    Offer,
    st.sampled_from("xy"),
    st.sampled_from("abcd"),
    st.sampled_from("st"),
    st.integers(1, 4),
    st.sampled_from([1.0, 2.0]),
    st.floats(1, 100),
)


@given(st.lists(OFFERS, max_size=12), st.randoms(), st.floats(0, 2))
def test_the_order_does_not_depend_on_the_order_of_the_offers(drawn, random, usd_per_ms):
    shuffled = list(drawn)
    random.shuffle(shuffled)
    distances = {("x", "a"): 10.0, ("y", "b"): 200.0}
    ranked = rank(drawn, distances, usd_per_ms)
    assert ranked == rank(shuffled, distances, usd_per_ms)
    assert [one.score for one in ranked] == sorted(one.score for one in ranked)


def test_only_sizes_that_are_large_enough_and_priced_are_offered(tables):  # noqa: F811
    (offer,) = offers(FACTS, tables, Wish(hubs=1, hosts=1))
    assert (offer.region, offer.size) == ("r1", "small")
    assert offer.monthly_usd == pytest.approx(2 * 0.01 * 730 * 2 + 20 * 0.2 + 2 * 6)
    assert offers(FACTS, tables, Wish(memory_gb=2)) == []


def test_distance_is_to_the_farthest_hub_of_another_region():
    measured = {("far/a", "near/a"): 30.0, ("far/a", "far/b"): 900.0, ("here", "far/a"): 5.0, ("far/b", "near/a"): 40.0}
    assert farthest(topology(), measured) == {("x", "r1"): 40.0}


def test_pings_that_were_answered_are_read_and_others_left_out():
    answer = (
        "203.0.113.7 PING 203.0.113.7 (203.0.113.7) 56(84) bytes of data. --- ping statistics --- 5 packets "
        "transmitted, 5 received, 0% packet loss, time 801ms rtt min/avg/max/mdev = 10.1/12.5/20.0/1.2 ms\n"
        "203.0.113.8 PING 203.0.113.8 --- 5 packets transmitted, 0 received, 100% packet loss, time 4000ms\n\n"
    )
    assert parsed(answer) == {"203.0.113.7": 12.5}
