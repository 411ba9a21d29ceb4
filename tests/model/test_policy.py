"""Services: what the stack file may say, what it means, and what a mistake in it is told."""

import copy
from dataclasses import replace
from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.model.errors import StackErrors
from components.model.policy import METRICS_PORT, METRICS_SERVICE, decide
from components.model.stackfile import load
from tests.model.policy_stack import BASE
from tests.rendering import packet_filters

LDAP = "/etc/vcubev/services/ldap.nft"


def stack(**changes):
    return load({**copy.deepcopy(BASE), **changes}, ("lab",))


def address(topology, name, family="ipv4"):
    members = {**{hub.key: hub for hub in topology.hubs}, **{host.name: host for host in topology.hosts}}
    return getattr(members[name].address, family)


DECISIONS = [
    ("web-1", "ldap-1", "tcp", 389, True),
    ("web-1", "ldap-1", "tcp", 636, True),
    ("web-1", "ldap-1", "udp", 389, False),
    ("web-1", "ldap-1", "tcp", 390, False),
    ("db-1", "ldap-1", "tcp", 389, False),
    ("ldap-1", "web-1", "tcp", 389, False),
    ("web-2", "db-1", "udp", 6010, True),
    ("web-1", "db-1", "udp", 6010, False),
    ("ldap-1", "db-1", "udp", 6000, True),
    ("db-1", "web-2", "tcp", 80, True),
    ("web-1", "db-1", "tcp", 5432, True),
    ("web-2", "db-1", "tcp", 5432, False),
    ("oregon/a", "db-1", "tcp", 22, True),
    ("web-1", "db-1", "tcp", 22, False),
    ("db-1", "web-1", "icmp", None, True),
]


@pytest.mark.parametrize("source, target, protocol, port, allowed", DECISIONS)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_policy_means_what_it_says(source, target, protocol, port, allowed, family):
    topology = stack()
    if family == "ipv6" and (source, port) == ("ldap-1", 6000):
        allowed = False  # an IPv4 prefix says nothing about IPv6
    ends = (address(topology, source, family), address(topology, target, family))
    assert decide(topology.policy, *ends, protocol, port).allowed is allowed


def test_without_services_all_is_open_and_with_an_empty_map_nothing():
    values = copy.deepcopy(BASE)
    del values["services"]
    open_stack = load(values, ("lab",))
    ends = (address(open_stack, "web-1"), address(open_stack, "db-1"), "tcp", 9)
    assert decide(open_stack.policy, *ends).allowed
    assert not decide(stack(services={}).policy, *ends).allowed


def test_the_hubs_way_in_and_the_echo_can_be_closed():
    topology = stack(policy={"ping": False, "ssh_from_hubs": False})
    hub, host = address(topology, "oregon/a"), address(topology, "web-1")
    assert not decide(topology.policy, hub, host, "tcp", 22).allowed
    assert not decide(topology.policy, hub, host, "icmp", None).allowed
    assert not topology.policy.answers_pings and stack().policy.answers_pings
    assert replace(topology.policy, enforced=False).answers_pings, "without services all is open"


MISTAKES = {
    "unknown role": ({"on": "mail", "ports": ["1/tcp"], "from": ["web"]}, "services.x.on", "is no role or host"),
    "unknown source": (
        {"on": "db", "ports": ["1/tcp"], "from": ["mail"]},
        "services.x.from.0",
        "is no role or host or",
    ),
    "port 0": ({"on": "db", "ports": ["0/tcp"], "from": ["web"]}, "services.x.ports.0", "1-65535"),
    "turned range": ({"on": "db", "ports": ["9-1/tcp"], "from": ["web"]}, "services.x.ports.0", "range"),
    "no protocol": ({"on": "db", "ports": ["80"], "from": ["web"]}, "services.x.ports.0", "80"),
    "sctp": ({"on": "db", "ports": ["80/sctp"], "from": ["web"]}, "services.x.ports.0", "protocols: tcp, udp"),
    "no ports": ({"on": "db", "ports": [], "from": ["web"]}, "services.x.ports", "at least 1"),
    "no source": ({"on": "db", "ports": ["1/tcp"]}, "services.x.from", "is missing"),
    "foreign prefix": ({"on": "db", "ports": ["1/tcp"], "from": ["192.0.2.0/24"]}, "services.x.from.0", "lies outside"),
    "host bits": ({"on": "db", "ports": ["1/tcp"], "from": ["10.100.1.1/24"]}, "services.x.from.0", "is not a prefix"),
    "injection": ({"on": "db", "ports": ["1/tcp; accept"], "from": ["web"]}, "services.x.ports.0", "accept"),
    "a site serves": ({"on": "paris", "ports": ["1/tcp"], "from": ["web"]}, "services.x.on", "is no role or host"),
}


@pytest.mark.parametrize("entry, place, told", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_service_is_named_at_its_place(entry, place, told):
    with pytest.raises(StackErrors) as caught:
        stack(services={"x": entry})
    assert f"vcubev:{place}:" in str(caught.value) and told in str(caught.value)


def test_a_name_that_two_things_have_must_be_said_in_full():
    values = copy.deepcopy(BASE)
    values["sites"]["web"] = {**values["sites"].pop("paris"), "hosts": {}}
    values["services"] = {"x": {"on": "db", "ports": ["1/tcp"], "from": ["web"]}}
    with pytest.raises(StackErrors, match="role:web or site:web"):
        load(values, ("lab",))
    values["services"]["x"]["from"] = ["site:web"]
    assert load(values, ("lab",)).policy.services[0].sources[0].name == "site web"


def test_a_policy_without_services_is_a_mistake_since_all_would_be_open():
    values = copy.deepcopy(BASE)
    del values["services"]
    values["policy"] = {"ping": False}
    with pytest.raises(StackErrors, match="without which all is open"):
        load(values, ("lab",))


ROLES = st.sampled_from(["web", "ldap", "db"])


@given(
    ROLES,
    ROLES,
    ROLES,
    st.integers(1, 254),
    st.integers(1, 254),
    st.sampled_from(["tcp", "udp"]),
    st.integers(1, 65535),
)
def test_every_member_of_a_role_present_or_to_come_is_treated_alike(on, asks, other, one, two, protocol, port):
    topology = stack(services={"x": {"on": on, "ports": [f"{port}/{protocol}"], "from": [asks]}})
    blocks = {role.name: role.ipv4.network_address for role in topology.roles}
    target, source, stranger = blocks[on] + one, blocks[asks] + two, blocks[other] + two
    assert decide(topology.policy, source, target, protocol, port).allowed
    assert decide(topology.policy, stranger, target, protocol, port).allowed is (other == asks)
    assert not decide(topology.policy, source, target, protocol, port % 65535 + 1).allowed
    assert not decide(topology.policy, ip_address("10.100.0.1"), target, protocol, port).allowed or (
        (protocol, port) == ("tcp", 22)
    )


def kept(before, after):
    """Tell whether every file that was there is there, and the same."""
    return all(after[machine].get(path) == spec for machine, files in before.items() for path, spec in files.items())


def test_a_new_host_changes_no_file_of_another_machine():
    before = packet_filters(stack())
    values = copy.deepcopy(BASE)
    values["sites"]["paris"]["hosts"]["web-9"] = {"role": "web", "id": 9}
    # Of a site that a service is open to: a file more where that is served, and on hubs.
    values["sites"]["oregon"]["hosts"]["ldap-9"] = {"role": "ldap", "id": 9}
    after = packet_filters(load(values, ("lab",)))
    assert kept(before, after)
    more = {machine: after[machine].keys() - files.keys() for machine, files in before.items()}
    new = {"/etc/vcubev/services/near.ldap-9.nft"}
    assert more == {**{name: set() for name in before}, "db-1": new, "oregon/a": new, "paris/a": new}


def test_a_new_service_changes_no_file_that_is_there():
    before = packet_filters(stack())
    services = {**BASE["services"], "mail": {"on": "web", "ports": ["25/tcp"], "from": ["any"]}}
    after = packet_filters(stack(services=services))
    assert kept(before, after)
    more = {machine for machine, files in before.items() if after[machine].keys() > files.keys()}
    assert more == {"oregon/a", "paris/a", "web-1", "web-2"}, "a host gets its own services only"


def test_the_two_walls_are_of_one_mind():
    topology = stack()
    files = packet_filters(topology)
    host, hub = files["ldap-1"][LDAP].content, files["paris/a"][LDAP].content
    web = IPv4Network("10.100.1.0/24")
    assert f"ip saddr {{ {web} }} tcp dport {{ 389, 636 }} counter accept" in host
    assert f"ip saddr {{ {web} }} ip daddr {{ 10.100.2.0/24 }} tcp dport {{ 389, 636 }} counter accept" in hub
    replies = f"ip saddr {{ 10.100.2.0/24 }} ip daddr {{ {web} }} tcp sport {{ 389, 636 }} tcp flags & (syn|ack) != syn"
    assert replies in hub, "the next hub has not seen the connection"
    main = files["paris/a"]["/etc/nftables.conf"].content
    forwarding = main[main.index("chain services") :] + hub
    assert "ct state" not in forwarding, "a stateful rule on a hub hangs live streams after a fail-over"


METRICS = {"metrics": {"from": ["db", "host:web-2"]}}


@pytest.mark.parametrize("services", [BASE["services"], None], ids=["closed", "open"])
@pytest.mark.parametrize("target", ["ldap-1", "oregon/a"])
def test_metrics_are_for_those_who_are_named_and_for_nobody_else(services, target):
    topology = stack(services=services, **METRICS)
    for source, allowed in {"db-1": True, "web-2": True, "web-1": False, "paris/a": False}.items():
        ends = (address(topology, source), address(topology, target))
        assert decide(topology.policy, *ends, "tcp", METRICS_PORT).allowed is allowed, (source, target)
        assert decide(topology.policy, *ends, "udp", METRICS_PORT).allowed is (services is None)


def test_hubs_let_metrics_through_where_they_let_through_only_what_is_declared():
    with_services, without = stack(**METRICS), stack(services=None, **METRICS)
    names = {service.name for service in with_services.policy.pieces()}
    assert METRICS_SERVICE in names and without.policy.pieces() == ()
    own = {service.name for service in with_services.policy.pieces(address(with_services, "ldap-1"))}
    assert METRICS_SERVICE not in own, "a member's own door is part of what serves them"


@pytest.mark.parametrize(
    "changes, place, says",
    [
        ({"metrics": {"from": ["oregon"]}}, "metrics.from.0", "is no role or host"),
        ({"metrics": {"from": []}}, "metrics.from", "at least 1"),
        ({"metrics": ["web"]}, "metrics", ""),
        (
            {**METRICS, "services": {"own": {"on": "web", "ports": ["9000-9999/tcp"], "from": ["any"]}}},
            "services.own.ports",
            "is the port of every member's metrics",
        ),
    ],
)
def test_a_mistake_about_metrics_is_told_with_its_place(changes, place, says):
    with pytest.raises(StackErrors) as mistakes:
        stack(**changes)
    assert any(place in line and says in line for line in str(mistakes.value).splitlines()), str(mistakes.value)
