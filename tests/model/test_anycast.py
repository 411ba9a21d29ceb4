"""Services with a shared address: what the stack file may say, who is given what, and what a mistake is told."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.model.errors import StackErrors
from components.model.nearest import nearest_service_files, nearest_services
from components.model.policy import Check, decide
from components.model.stackfile import load
from scripts.cli.policy import explain
from tests.model.policy_stack import BASE
from tests.rendering import packet_filters

LDAP = {"on": "ldap", "ports": ["389/tcp", "636/tcp"], "from": ["web"], "anycast": True}


def stack(services, **changes):
    return load({**copy.deepcopy(BASE), "services": services, **changes}, ("lab",))


def told(topology, name):
    """Return what a host's agent is told: service -> its file."""
    host = next(host for host in topology.hosts if host.name == name)
    return {
        service.name: json.loads(spec.content)
        for service in nearest_services(topology.policy, host)
        for spec in nearest_service_files(service, host, topology.overlay, topology.policy.ping).values()
    }


def test_those_in_from_reach_it_at_the_roles_first_address_and_nobody_else_has_anything_of_it():
    topology = stack({"ldap": LDAP})
    ldap = told(topology, "web-1")["ldap"]
    assert ldap["shared"] == {"ip": "10.100.2.0", "ip6": "fd5c:ab1e:0:2::"}
    assert ldap["own"] is None and ldap["ports"] == {"tcp": ["389", "636"]}
    assert told(topology, "db-1") == told(topology, "ldap-1") == {}


def test_a_server_that_is_among_its_clients_knows_itself():
    assert told(stack({"ldap": {**LDAP, "from": ["any"]}}), "ldap-1")["ldap"]["own"] == 1


def test_a_client_by_one_family_only_is_led_by_that_family():
    # To a server's other address it would be let in by no policy.
    assert told(stack({"ldap": {**LDAP, "from": ["10.100.1.0/24"]}}), "web-1")["ldap"]["shared"].keys() == {"ip"}


def test_without_a_check_the_first_port_of_tcp_takes_connections_or_pings_are_all():
    check = lambda service: stack({"x": service}).policy.services[0].check  # noqa: E731
    assert check(LDAP) == Check(tcp=389)
    assert check({**LDAP, "ports": ["53/udp"]}) == Check()
    http = {"http": 636, "path": "/healthz", "expect": 204, "every_seconds": 5}
    assert check({**LDAP, "check": http}) == Check(None, 636, "/healthz", 204, 5)


MISTAKES = {
    "on a host": ({**LDAP, "on": "ldap-1"}, "services.x.on", "has no shared address"),
    "foreign port": ({**LDAP, "check": {"tcp": 22}}, "services.x.check.tcp", "Add 22/tcp"),
    "only by udp": ({**LDAP, "ports": ["389/udp"], "check": {"tcp": 389}}, "services.x.check.tcp", "Add 389/tcp"),
    "both": ({**LDAP, "check": {"tcp": 389, "http": 389}}, "services.x.check", "one of tcp and http"),
    "neither": ({**LDAP, "check": {"every_seconds": 3}}, "services.x.check", "one of tcp and http"),
    "path of tcp": ({**LDAP, "check": {"tcp": 389, "path": "/"}}, "services.x.check", "are of http"),
    "no path": ({**LDAP, "check": {"http": 389, "path": "healthz"}}, "services.x.check.path", "a path such as"),
    "injection": ({**LDAP, "check": {"http": 389, "path": "/ HTTP/1.1\r\nX: y"}}, "services.x.check.path", "a path"),
    "never": ({**LDAP, "check": {"tcp": 389, "every_seconds": 0}}, "services.x.check.every_seconds", "1-3600"),
    "no status": ({**LDAP, "check": {"http": 389, "expect": 99}}, "services.x.check.expect", "100-599"),
    "without anycast": ({**LDAP, "anycast": False, "check": {"tcp": 389}}, "services.x.check", "anycast: true"),
    "not yes": ({**LDAP, "anycast": "yes"}, "services.x.anycast", "boolean"),
}


@pytest.mark.parametrize("entry, place, told_so", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_at_its_place(entry, place, told_so):
    with pytest.raises(StackErrors) as caught:
        stack({"x": entry})
    assert f"vcubev:{place}" in str(caught.value) and told_so in str(caught.value)


def test_two_services_at_one_shared_address_have_other_ports():
    with pytest.raises(StackErrors, match="shared address of role ldap"):
        stack({"ldap": LDAP, "more": {**LDAP, "ports": ["380-400/tcp"]}})
    stack({"ldap": LDAP, "more": {**LDAP, "ports": ["389/udp"]}, "own": {**LDAP, "on": "web", "from": ["ldap"]}})
    stack({"ldap": LDAP, "more": {**LDAP, "anycast": False}})


def test_with_no_pings_and_no_port_of_tcp_nothing_would_tell_who_lives():
    service = {**LDAP, "ports": ["53/udp"]}
    with pytest.raises(StackErrors, match="nothing tells whether a server lives"):
        stack({"x": service}, policy={"ping": False})
    assert told(stack({"ldap": LDAP}, policy={"ping": False}), "web-1")["ldap"]["ping"] is False


@given(st.sampled_from(["web", "ldap", "db"]), st.integers(3, 254), st.sampled_from(["oregon", "paris"]))
def test_a_host_more_changes_nothing_for_those_that_are_there(role, number, site):
    services = {"ldap": {**LDAP, "from": ["oregon", "host:web-2", "ldap"]}}
    before = stack(services)
    values = {**copy.deepcopy(BASE), "services": services}
    values["sites"][site]["hosts"]["new"] = {"role": role, "id": number}
    after = load(values, ("lab",))
    assert all(told(after, host.name) == told(before, host.name) for host in before.hosts)


def test_servers_packet_filters_are_those_of_a_service_without_a_shared_address():
    assert packet_filters(stack({"ldap": LDAP})) == packet_filters(stack({"ldap": {**LDAP, "anycast": False}}))


def test_the_policy_says_that_the_shared_address_leads_to_the_nearest():
    topology = stack({"ldap": LDAP})
    web = topology.hosts[-1].address
    for source, target in zip((web.ipv4, web.ipv6), topology.policy.services[0].shared, strict=True):
        verdict = decide(topology.policy, source, target, "tcp", 389)
        assert verdict.allowed and "the nearest of role ldap" in verdict.reason
    assert "the nearest" in explain(topology, "web-1", "ldap", "389/tcp").reason
    with pytest.raises(StackErrors, match="is no member"):
        explain(topology, "web-1", "db", "389/tcp")
