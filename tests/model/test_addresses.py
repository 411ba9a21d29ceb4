"""Addresses: what deployed stacks depend on."""

import copy
from ipaddress import IPv4Network, IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st

from components.model.stackfile import load
from tests.model.strategies import stacks

CLOUDS = ("lab",)
FEW = settings(max_examples=20, deadline=None)


def addresses(topology):
    members = [(hub.key, hub.address) for hub in topology.hubs] + [(host.name, host.address) for host in topology.hosts]
    return dict(members)


@given(stacks())
@FEW
def test_no_two_members_share_an_address(values):
    found = addresses(load(values, CLOUDS)).values()
    assert len({a.ipv4 for a in found}) == len(found) == len({a.ipv6 for a in found}), "a packet would have two homes"


@given(stacks())
@FEW
def test_every_address_lies_in_the_overlay_and_a_hosts_in_its_roles_block(values):
    topology = load(values, CLOUDS)
    roles = {role.name: role for role in topology.roles}
    for address in addresses(topology).values():
        assert address.ipv4 in topology.overlay.ipv4 and address.ipv6 in topology.overlay.ipv6
    for host in topology.hosts:
        role = roles[host.role]
        assert host.address.ipv4 in role.ipv4 and host.address.ipv6 in role.ipv6, "policy matches on role prefixes"
        assert host.address.ipv4 not in (role.ipv4.network_address, role.ipv4.broadcast_address)


@given(stacks())
@FEW
def test_role_blocks_never_overlap_each_other_nor_the_hubs_block(values):
    topology = load(values, CLOUDS)
    hubs = next(topology.overlay.ipv4.subnets(new_prefix=24)), next(topology.overlay.ipv6.subnets(new_prefix=64))
    blocks = [(role.ipv4, role.ipv6) for role in topology.roles] + [hubs]
    for at, one in enumerate(blocks):
        assert not any(one[0].overlaps(other[0]) or one[1].overlaps(other[1]) for other in blocks[at + 1 :])


@given(stacks(), st.data())
@FEW
def test_removing_a_site_renumbers_nobody(values, data):
    before = load(values, CLOUDS)
    if len(before.sites) < 2:
        return
    gone = data.draw(st.sampled_from(sorted(values["sites"])))
    fewer = copy.deepcopy(values)
    del fewer["sites"][gone]
    after = load(fewer, CLOUDS)
    kept = addresses(before)
    assert all(kept[name] == address for name, address in addresses(after).items())
    assert all(site in before.sites for site in after.sites), "underlay, hubs and hosts of a site are its own affair"
    assert set(after.links) <= set(before.links)


@given(stacks())
@FEW
def test_the_order_of_the_stack_file_means_nothing(values):
    turned = copy.deepcopy(values)
    turned["sites"] = dict(reversed(turned["sites"].items()))
    turned["roles"] = dict(reversed(turned["roles"].items()))
    for site in turned["sites"].values():
        site["hosts"] = dict(reversed(site["hosts"].items()))
        site["hubs"] = dict(reversed(site["hubs"].items()))
    assert load(turned, CLOUDS) == load(values, CLOUDS)


@given(stacks())
@FEW
def test_every_two_hubs_have_one_link_and_no_hub_uses_a_port_twice(values):
    topology = load(values, CLOUDS)
    pairs = {frozenset((link.listener.id, link.dialer.id)) for link in topology.links}
    count = len(topology.hubs)
    assert len(pairs) == len(topology.links) == count * (count - 1) // 2
    assert len({hub.link_port for hub in topology.hubs}) == count
    assert all(link.listener.id < link.dialer.id for link in topology.links)


def test_the_address_plan_of_deployed_stacks_never_changes():
    values = {
        "overlay": {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"},
        "roles": {"web": {"id": 1}, "far": {"id": 255}},
        "sites": {
            "oregon": {
                "id": 1,
                "cloud": "lab",
                "region": "here",
                "hubs": {"a": {"id": 7}},
                "hosts": {"web-1": {"role": "web", "id": 11}, "far-1": {"role": "far", "id": 254}},
            }
        },
    }
    topology = load(values, CLOUDS)
    found = {name: (str(a.ipv4), str(a.ipv6)) for name, a in addresses(topology).items()}
    assert found == {
        "oregon/a": ("10.100.0.7", "fd5c:ab1e::7"),
        "web-1": ("10.100.1.11", "fd5c:ab1e:0:1::b"),
        "far-1": ("10.100.255.254", "fd5c:ab1e:0:ff::fe"),
    }
    hub = topology.hubs[0]
    assert (hub.asn, hub.link_port, str(hub.link_local)) == (4200000007, 20007, "fe80::7")
    assert topology.sites[0].underlay == IPv4Network("172.30.1.0/24")
    assert topology.roles[0].ipv6 == IPv6Network("fd5c:ab1e:0:ff::/64")
