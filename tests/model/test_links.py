"""Which hubs have a link, in small networks and in large ones."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from components.model.links import FULL_UP_TO, SIBLINGS, UPLINKS, core, links
from components.model.stackfile import load
from components.model.topology import HubView, VirtualAddress
from tests.components.declared import lab_values

ADDRESS = VirtualAddress(IPv4Address("10.100.0.1"), IPv6Address("fd5c:ab1e::1"))


def hub(hub_id, site):
    return HubView(f"h{hub_id}", f"s{site}", hub_id, ADDRESS)


@st.composite
def large(draw, sites=(2, 20)):
    """Hubs of a network, and up to how many it is linked all to all."""
    ids = draw(st.lists(st.integers(1, 254), min_size=2, max_size=60, unique=True))
    count = draw(st.integers(*sites))
    hubs = [hub(number, draw(st.integers(1, count))) for number in ids]
    return hubs, draw(st.integers(2, 14))


def ends(found):
    return {frozenset((link.listener.id, link.dialer.id)) for link in found}


def reached(hubs, found):
    """Return the ids of the hubs that the first one reaches."""
    near = {}
    for link in found:
        near.setdefault(link.listener.id, set()).add(link.dialer.id)
        near.setdefault(link.dialer.id, set()).add(link.listener.id)
    seen, edge = set(), {hubs[0].id}
    while edge:
        seen |= edge
        edge = {other for one in edge for other in near.get(one, ())} - seen
    return seen


@given(large())
def test_a_small_network_is_linked_all_to_all(drawn):
    hubs = drawn[0][:FULL_UP_TO]
    found = links(hubs)
    assert len(found) == len(hubs) * (len(hubs) - 1) // 2 and not any(link.leaf for link in found)


@given(large())
def test_no_hub_and_no_site_whose_death_parts_the_rest(drawn):
    hubs, full_up_to = drawn
    found = links(hubs, full_up_to)
    deaths = [lambda hub, dead=dead: hub.id == dead.id for dead in hubs]
    deaths += [lambda hub, dead=dead: hub.site == dead.site for dead in hubs]
    for dies in deaths:
        rest = [hub for hub in hubs if not dies(hub)]
        alive = [link for link in found if not dies(link.listener) and not dies(link.dialer)]
        assert not rest or reached(rest, alive) == {hub.id for hub in rest}


@given(large())
def test_a_new_hub_adds_links_and_changes_none(drawn):
    hubs, full_up_to = drawn
    newest = max(hubs, key=lambda hub: hub.id)
    before, after = links([hub for hub in hubs if hub != newest], full_up_to), links(hubs, full_up_to)
    first_elsewhere = len({hub.site for hub in hubs if hub != newest}) == 1
    # The one exception: a network of one site only gets its first hub at another one.
    assert set(before) <= set(after) or (first_elsewhere and len(hubs) > full_up_to)


@given(large())
def test_links_grow_with_the_hubs_and_not_with_their_square(drawn):
    hubs, full_up_to = drawn
    leaves = max(0, len(hubs) - full_up_to)
    assert len(links(hubs, full_up_to)) <= full_up_to * (full_up_to - 1) // 2 + leaves * (UPLINKS + SIBLINGS)


@given(large())
def test_a_leaf_has_its_first_two_ways_up_in_two_sites(drawn):
    hubs, full_up_to = drawn
    middle = core(hubs, full_up_to)
    up = {}
    for link in links(hubs, full_up_to):
        if link.leaf:
            other = link.listener if link.leaf == link.dialer else link.dialer
            assert other in middle and link.leaf not in middle
            up.setdefault(link.leaf.id, {})[link.rank] = other
    for hub_id in {hub.id for hub in hubs if hub not in middle}:
        assert set(up[hub_id]) >= {1, 2} and up[hub_id][1] != up[hub_id][2]
        assert len({hub.site for hub in middle}) == 1 or up[hub_id][1].site != up[hub_id][2].site


def test_leaves_spread_over_the_core():
    hubs = [hub(number, number) for number in range(1, 251)]
    carried = {}
    for link in links(hubs, 10):
        if link.leaf:
            carried[link.listener.id] = carried.get(link.listener.id, 0) + 1
    assert len(carried) == 10 and max(carried.values()) < 2 * min(carried.values())


def test_the_stack_file_says_up_to_how_many_hubs_are_linked_all_to_all():
    values = lab_values()
    values["sites"]["far"] = {"id": 3, "cloud": "lab", "region": "x", "hubs": {"a": {"id": 3}, "b": {"id": 4}}}
    assert len(load(values, ("lab",)).links) == 6
    values["mesh"] = {"full_up_to": 2}
    assert ends(load(values, ("lab",)).links) == {
        frozenset(p) for p in ((1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4))
    }
    values["sites"]["farther"] = {"id": 4, "cloud": "lab", "region": "y", "hubs": {"a": {"id": 5}}}
    assert len(load(values, ("lab",)).links) == 8
