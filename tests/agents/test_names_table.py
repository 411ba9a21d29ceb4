"""The table of names: what a certificate says, what another hub may say, and which of both counts."""

import json
import re
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.agents.loading import load
from tests.rendering import TOPOLOGY

table = load("table")
DOMAIN, OVERLAY = "vcubev.internal", IPv4Network("10.100.0.0/16")
ONE, OTHER, HUB = IPv4Address("10.100.1.1"), IPv4Address("10.100.2.9"), IPv4Address("10.100.0.2")
LABELS = st.from_regex(r"\A[a-z]([a-z0-9-]{0,18}[a-z0-9])?\Z")
HOSTS = st.builds(lambda host, site, role, short: table.Named(host, site, role, short and role != host),
                  LABELS, LABELS, LABELS, st.booleans())  # fmt: skip
MEMBERS = st.builds(lambda role, number: OVERLAY.network_address + role * 256 + number,
                    st.integers(1, 255), st.integers(1, 254))  # fmt: skip
TABLES = st.dictionaries(MEMBERS, HOSTS, max_size=60)


def named(host="web-1", site="paris", role="web", short=True):
    return table.Named(host, site, role, short)


def certificate(names, address=ONE):
    return ", ".join([*(f"DNS:{name}.{DOMAIN}" for name in names), f"IP Address:{address}"])


def test_the_names_that_the_program_writes_into_a_certificate_are_the_ones_that_a_hub_reads():
    for host in TOPOLOGY.hosts:
        names = [f"DNS:{name}" for name in TOPOLOGY.names_of(host)]
        read = table.of_certificate(f"IP Address:{host.address.ipv4}, {', '.join(names)}\n", TOPOLOGY.overlay.domain)
        assert read == table.Named(host.name, host.site, host.role, True)


@given(HOSTS)
def test_every_host_that_can_be_is_read_as_it_is(host):
    alone = [host.host] if host.short else []
    for names in ([f"{host.host}.{host.site}", *alone, host.role], [host.role, *alone, f"{host.host}.{host.site}"]):
        assert table.of_certificate(certificate(names), DOMAIN) == host


STRANGE = {
    "no name at all": "IP Address:10.100.1.1",
    "nothing": "",
    "another domain": "DNS:web-1.paris.example.org, DNS:web.example.org",
    "one name of another domain": f"{certificate(['web-1.paris', 'web'])}, DNS:bank.example.org",
    "the domain's end only": f"DNS:web-1.paris.x{DOMAIN}, DNS:web.x{DOMAIN}",
    "two below sites": certificate(["web-1.paris", "web-2.paris", "web"]),
    "no role": certificate(["web-1.paris"]),
    "four names": certificate(["web-1.paris", "web-1", "web", "db"]),
    "a short name of another host": certificate(["web-1.paris", "web-2", "web"]),
    "upper case": certificate(["Web-1.paris", "web"]),
    "a wildcard": certificate(["*.paris", "web"]),
    "a line break": certificate(["web-1.paris", "web\n10.100.9.9 bank"]),
    "a blank": certificate(["web-1.paris", "web bank"]),
    "too deep": certificate(["a.web-1.paris", "web"]),
    "too long a label": certificate(["w" * 21 + ".paris", "web"]),
    "too much": certificate(["web-1.paris", "web"]) + " " * 5000,
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_a_certificate_that_the_program_would_not_sign_has_no_name(text):
    with pytest.raises(ValueError):
        table.of_certificate(text, DOMAIN)


@given(TABLES, st.booleans())
@settings(deadline=None)
def test_what_one_hub_tells_another_understands_in_packets_that_fit(hosts, ask):
    found, asked = {}, []
    for part in table.messages(hosts, ask):
        assert len(part) <= table.LONGEST_MESSAGE
        asks, some = table.told(part, OVERLAY)
        asked.append(asks)
        found |= some
    assert found == hosts and asked == [ask, *[False] * (len(asked) - 1)]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), LABELS),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.lists(st.one_of(LABELS, st.booleans(), JSON), min_size=3, max_size=5)
ADDRESSES = st.one_of(MEMBERS.map(str), st.sampled_from(["10.100.0.1", "10.100.1.0", "10.101.1.1", "10.100.1.01", "*"]))
ALMOST = st.fixed_dictionaries(
    {"ask": st.one_of(st.booleans(), JSON), "hosts": st.one_of(st.dictionaries(ADDRESSES, ENTRIES, max_size=3), JSON)}
)
TORN = st.builds(lambda hosts, end: table.messages(hosts)[0][:end], TABLES, st.integers(0, 1200))


@given(st.one_of(st.binary(max_size=1300), TORN, st.one_of(JSON, ALMOST).map(lambda said: json.dumps(said).encode())))
@example(b"[" * 1200)
@example(b'{"ask": false, "hosts": {"10.100.1.1": ' + b"[" * 1100)
@example(b'{"ask": false, "hosts": {"10.100.1.1": ["web-1", "paris", "web", 1]}}')
@example(b'{"ask": false, "hosts": {"10.100.1.1": ["web-1\\n10.100.9.9 bank", "paris", "web", true]}}')
@example(b'{"ask": false, "hosts": {"10.100.1.1": "abcd"}}')
@example(b'{"ask": false, "hosts": {"10.100.0.1": ["web-1", "paris", "web", true]}}')
@example(b'{"ask": 1e400, "hosts": {}}')
@settings(max_examples=600, deadline=None)
def test_whatever_another_hub_says_a_hosts_file_gets_hosts_of_the_overlay_only(message):
    try:
        _, hosts = table.told(message, OVERLAY)
    except ValueError:
        return
    for address, host in hosts.items():
        assert address in OVERLAY and address not in IPv4Network("10.100.0.0/24")
        for line in table.lines([address], [host], DOMAIN).splitlines():
            first, *names = line.split(" ")
            assert first == str(address) and names
            assert all(re.fullmatch(rf"[a-z0-9-]+(\.[a-z0-9-]+)?\.{re.escape(DOMAIN)}", name) for name in names)


def test_what_this_hub_saw_counts_more_than_what_another_says():
    known = table.Table()
    known.own = {ONE: named()}
    known.hear(0, HUB, {ONE: named("bank")})
    assert known.known([ONE]) == {ONE: (named(),)}


@pytest.mark.parametrize("claimed", [named(), named("x", role="web-1"), named("web-1", "tokyo")])
def test_no_hub_gives_the_name_of_a_host_that_is_connected_here_to_another_address(claimed):
    known = table.Table()
    known.own = {ONE: named()}
    known.hear(0, HUB, {OTHER: claimed})
    assert OTHER not in known.known([ONE, OTHER]), "whoever asks for web-1 would get another machine"


def test_another_host_of_the_same_role_is_taken_from_another_hub():
    known = table.Table()
    known.own = {ONE: named()}
    known.hear(0, HUB, {OTHER: named("web-2")})
    assert known.known([ONE, OTHER]) == {ONE: (named(),), OTHER: (named("web-2"),)}


def test_an_address_with_no_route_has_no_name():
    known = table.Table()
    known.own = {ONE: named()}
    known.hear(0, HUB, {OTHER: named("web-2")})
    assert known.known([]) == {}


def test_a_host_that_is_being_renamed_has_both_names():
    known = table.Table()
    known.hear(0, HUB, {ONE: named("old")})
    known.hear(0, HUB + 1, {ONE: named("new")})
    assert known.known([ONE]) == {ONE: (named("new"), named("old"))}


def test_what_a_hub_does_not_tell_again_is_forgotten():
    known = table.Table()
    known.hear(0, HUB, {ONE: named()})
    known.forget(table.TOLD_SECONDS - 1)
    assert known.known([ONE])
    known.forget(table.TOLD_SECONDS)
    assert not known.known([ONE])


def test_a_hub_fills_no_more_room_than_its_hosts_could():
    known = table.Table()
    for role in range(1, 30):
        known.hear(0, HUB, {OVERLAY.network_address + role * 256 + number: named() for number in range(1, 255)})
    assert sum(map(len, known._told.values())) == table.MOST_TOLD


def test_the_first_name_of_an_address_is_the_one_below_its_site():
    written = table.lines([ONE, "fd5c:ab1e:0:1::1"], [named()], DOMAIN)
    assert written == (
        f"{ONE} web-1.paris.{DOMAIN} web-1.{DOMAIN}\n{ONE} web.{DOMAIN}\n"
        f"fd5c:ab1e:0:1::1 web-1.paris.{DOMAIN} web-1.{DOMAIN}\nfd5c:ab1e:0:1::1 web.{DOMAIN}\n"
    )
