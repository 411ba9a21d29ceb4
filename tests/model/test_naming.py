"""Names: what deployed stacks depend on, and what a domain may be."""

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.model.entries import LONGEST_DOMAIN
from components.model.errors import StackErrors
from components.model.naming import reverse_zones
from components.model.stackfile import load
from tests.model.strategies import overlays, stacks
from tests.model.test_stack_errors import right

CLOUDS = ("lab",)


def of(values):
    topology = load(values, CLOUDS)
    return {host.name: topology.names_of(host) for host in topology.hosts}


def test_a_host_has_a_name_below_its_site_one_of_its_own_and_its_roles():
    assert of(right())["web-1"] == (
        "web-1.oregon.vcubev.internal",
        "web-1.vcubev.internal",
        "web.vcubev.internal",
    )
    assert of({**right(), "domain": "net.example.org"})["web-1"][0] == "web-1.oregon.net.example.org"


def test_a_roles_name_is_no_hosts():
    values = right()
    values["sites"]["oregon"]["hosts"]["db"] = {"role": "web", "id": 9}
    assert of(values)["db"] == ("db.oregon.vcubev.internal", "web.vcubev.internal")


@given(stacks())
@settings(max_examples=20, deadline=None)
def test_a_name_that_is_no_roles_belongs_to_one_host(values):
    topology = load(values, CLOUDS)
    roles = {f"{role.name}.{topology.overlay.domain}" for role in topology.roles}
    own = [name for host in topology.hosts for name in topology.names_of(host) if name not in roles]
    assert len(own) == len(set(own)), "it would lead to two machines"
    taken = {host.address.ipv4 for host in topology.hosts} | {hub.address.ipv4 for hub in topology.hubs}
    assert topology.overlay.names.ipv4 not in taken and topology.overlay.names.ipv4 in topology.overlay.ipv4


@given(overlays(), st.data())
@settings(deadline=None)
def test_the_reverse_zones_hold_the_overlays_addresses_and_no_other(overlay, data):
    for prefix, step in zip(overlay, (8, 4), strict=True):
        zones = reverse_zones(prefix)
        assert len(zones) <= 1 << (step - 1)
        inside = prefix[data.draw(st.integers(0, prefix.num_addresses - 1))]
        outside = ip_address(int(prefix.broadcast_address) + 1)
        below = [[zone for zone in zones if f".{a.reverse_pointer}".endswith(f".{zone}")] for a in (inside, outside)]
        assert [len(found) for found in below] == [1, 0]


def test_a_zone_reads_as_the_rfcs_write_it():
    assert reverse_zones(IPv4Network("10.100.0.0/16")) == ["100.10.in-addr.arpa"]
    assert reverse_zones(IPv4Network("10.2.2.0/23")) == ["2.2.10.in-addr.arpa", "3.2.10.in-addr.arpa"]
    assert reverse_zones(IPv6Network("fd5c:ab1e::/48")) == ["0.0.0.0.e.1.b.a.c.5.d.f.ip6.arpa"]


WRONG = {
    "one label": ("internal", "two labels"),
    "upper case": ("Vcubev.internal", "two labels"),
    "an address": ("10.100.0.1", "two labels"),
    "a root's dot": ("vcubev.internal.", "two labels"),
    "a line break": ("vcubev.internal\nserver=192.0.2.1", "two labels"),
    "another option": ("vcubev.internal/192.0.2.1", "two labels"),
    "a hyphen at the end": ("vcubev-.internal", "two labels"),
    "a long label": (f"{'a' * 64}.internal", "two labels"),
    "mDNS": ("office.local", "reserved"),
    "reverse": ("10.in-addr.arpa", "reserved"),
    "no text": (7, "string"),
    "too long": (".".join(["a" * 50] * 5), f"{LONGEST_DOMAIN} characters"),
}


@pytest.mark.parametrize("domain, words", WRONG.values(), ids=WRONG)
def test_a_domain_that_could_not_be_one_is_told_with_its_cure(domain, words):
    with pytest.raises(StackErrors) as raised:
        load({**right(), "domain": domain}, CLOUDS)
    (error,) = raised.value.errors
    assert error.place == "domain" and words in str(error) and error.cure


def test_the_longest_domain_leaves_room_for_the_longest_names():
    values = right()
    values["domain"] = ".".join(["a" * 52] * 4)[:LONGEST_DOMAIN]
    values["sites"]["s" * 20] = {**values["sites"].pop("oregon"), "hosts": {"h" * 20: {"role": "web", "id": 1}}}
    assert len(values["domain"]) == LONGEST_DOMAIN
    assert max(len(name) for name in of(values)["h" * 20]) <= 253
