"""A wrong stack file: every mistake is named with its place, value, limit and cure, and all at once."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.model.errors import StackErrors
from components.model.stackfile import load, load_file
from tests.model.strategies import stacks

CLOUDS = ("aws", "lab")


def right():
    site = {"id": 1, "cloud": "lab", "region": "here"}
    return {
        "overlay": {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"},
        "roles": {"web": {"id": 1}, "db": {"id": 2}},
        "sites": {
            "oregon": {**site, "hubs": {"a": {"id": 1}}, "hosts": {"web-1": {"role": "web", "id": 1}}},
            "paris": {**site, "id": 2, "hubs": {"a": {"id": 2}}, "hosts": {"web-2": {"role": "web", "id": 2}}},
        },
    }


def changed(*path_and_value):
    """Return a right stack file with one value changed; KeyError as the value deletes it."""
    *path, last, value = path_and_value
    values = right()
    entry = values
    for key in path:
        entry = entry[key]
    if value is KeyError:
        del entry[last]
    else:
        entry[last] = value
    return values


def mistakes(values):
    with pytest.raises(StackErrors) as raised:
        load(values, CLOUDS)
    return raised.value.errors


OREGON = ("sites", "oregon")
# what is changed, where the error must point, what it must say
WRONG = {
    "overlay too small": (("overlay", "ipv4", "10.100.0.0/24"), "overlay.ipv4", "/8 to a /23"),
    "overlay too wide": (("overlay", "ipv4", "10.0.0.0/7"), "overlay.ipv4", "/8 to a /23"),
    "overlay with host bits": (("overlay", "ipv4", "10.100.0.1/16"), "overlay.ipv4", "host bits"),
    "overlay no prefix": (("overlay", "ipv4", "ten"), "overlay.ipv4", "not a prefix"),
    "overlay a number": (("overlay", "ipv4", 10), "overlay.ipv4", "not a prefix"),
    "overlay multicast": (("overlay", "ipv4", "224.0.0.0/16"), "overlay.ipv4", "reserved"),
    "overlay IPv6 of another size": (("overlay", "ipv6", "fd5c::/56"), "overlay.ipv6", "must be a /48"),
    "overlay missing": (("overlay", KeyError), "overlay.ipv4", "missing"),
    "overlay over the default underlay": (("overlay", "ipv4", "172.16.0.0/12"), "sites.oregon.underlay", "overlaps"),
    "underlay over the overlay": ((*OREGON, "underlay", "10.100.7.0/24"), "sites.oregon.underlay", "overlaps"),
    "underlay too small": ((*OREGON, "underlay", "172.20.0.0/30"), "sites.oregon.underlay", "/16 to a /28"),
    "duplicate role id": (("roles", "db", {"id": 1}), "roles.web.id", "taken: vcubev:roles.db.id"),
    "duplicate site id": ((*OREGON, "id", 2), "sites.paris.id", "taken"),
    "duplicate hub id": ((*OREGON, "hubs", "a", "id", 2), "sites.paris.hubs.a.id", "taken"),
    "duplicate host id in a role": (
        ("sites", "paris", "hosts", "web-2", "id", 1),
        "sites.paris.hosts.web-2.id",
        "taken",
    ),
    "unknown role": ((*OREGON, "hosts", "web-1", "role", "ldap"), "sites.oregon.hosts.web-1.role", "Roles: db, web"),
    "unknown cloud": ((*OREGON, "cloud", "gcp"), "sites.oregon.cloud", "Clouds: aws, lab"),
    "no sites": (("sites", {}), "sites", "missing or empty"),
    "sites a list": (("sites", [1]), "sites", "not a map"),
    "no hub": ((*OREGON, "hubs", {}), "sites.oregon.hubs", "needs a hub"),
    "hub with no id": ((*OREGON, "hubs", "a", "id", KeyError), "sites.oregon.hubs.a.id", "missing"),
    "hub id out of range": ((*OREGON, "hubs", "a", "id", 255), "sites.oregon.hubs.a.id", "1-254"),
    "host id zero": ((*OREGON, "hosts", "web-1", "id", 0), "sites.oregon.hosts.web-1.id", "1-254"),
    "host id broadcast": ((*OREGON, "hosts", "web-1", "id", 255), "sites.oregon.hosts.web-1.id", "1-254"),
    "host id true": ((*OREGON, "hosts", "web-1", "id", True), "sites.oregon.hosts.web-1.id", "integer"),
    "role id beyond the overlay": (("roles", "db", "id", 256), "roles.db.id", "1-255"),
    "site id out of range": ((*OREGON, "id", 255), "sites.oregon.id", "1-254"),
    "port out of range": ((*OREGON, "hubs", "a", "port", 70000), "sites.oregon.hubs.a.port", "1-65535"),
    "port of SSH": ((*OREGON, "hubs", "a", "port", 22), "sites.oregon.hubs.a.port", "SSH"),
    "port of links": ((*OREGON, "hubs", "a", "port", 20001), "sites.oregon.hubs.a.port", "links"),
    "port of claims": ((*OREGON, "hubs", "a", "port", 1195), "sites.oregon.hubs.a.port", "claims"),
    "no process": ((*OREGON, "hubs", "a", "processes", 0), "sites.oregon.hubs.a.processes", "1-8"),
    "more processes than it may have": ((*OREGON, "hubs", "a", "processes", 9), "sites.oregon.hubs.a.processes", "1-8"),
    "processes beyond the last port": (
        (*OREGON, "hubs", "a", {"id": 1, "port": 65_534, "processes": 4}),
        "sites.oregon.hubs.a.processes",
        "up to 65537, and the highest is 65535",
    ),
    "private not a truth value": (
        (*OREGON, "hosts", "web-1", "private", "yes"),
        "sites.oregon.hosts.web-1.private",
        "bool",
    ),
    "generations out of order": (("keys", {"authority": [1, 1]}), "keys.authority", "no list of generations"),
    "three generations": (("keys", {"login": [1, 2, 3]}), "keys.login", "no list of generations"),
    "generation zero": (("keys", {"hosts": {"web-1": [0]}}), "keys.hosts.web-1", "counted from 1"),
    "no generation": (("keys", {"hubs": {"oregon/a": []}}), "keys.hubs.oregon/a", "no list of generations"),
    "a key of nobody": (("keys", {"hosts": {"web-9": [2]}}), "keys.hosts.web-9", "none of the stack's hosts"),
    "revoked no list": (("revoked", "web-1"), "revoked", "is not a list"),
    "revoked a number": (("revoked", [1.5e38]), "revoked", "in quotes"),
    "revoked no name": (("revoked", ["host.web-1"]), "revoked", "is no host"),
    "misspelt key": (
        (*OREGON, "hosts", "web-1", "privat", True),
        "sites.oregon.hosts.web-1.privat",
        "role, id, private",
    ),
    "misspelt section": (("rolles", {}), "rolles", "overlay, roles, sites"),
    "region missing": ((*OREGON, "region", KeyError), "sites.oregon.region", "missing"),
    "renewal after expiry": (
        ("certificates", {"validity_days": 30, "renew_before_days": 30}),
        "certificates.renew_before_days",
        "less than",
    ),
    "certificates outlive the CA": (
        ("certificates", {"ca_validity_days": 300}),
        "certificates.validity_days",
        "less than",
    ),
    "operator no prefix": (("operators", ["everywhere"]), "operators.0", "not a prefix"),
    "machine name twice": (
        (*OREGON, "hosts", "paris-a", {"role": "web", "id": 9}),
        "sites.oregon.hosts.paris-a",
        "paris.hubs.a",
    ),
    "host name twice": (
        ("sites", "paris", "hosts", "web-1", {"role": "web", "id": 9}),
        "sites.paris.hosts.web-1",
        "oregon.hosts.web-1",
    ),
}


@pytest.mark.parametrize("path_and_value, place, words", WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_told_with_its_place_limit_and_cure(path_and_value, place, words):
    found = mistakes(changed(*path_and_value))
    here = [error for error in found if error.place == place]
    assert here, f"nothing points to {place}: {[str(e) for e in found]}"
    assert any(words in str(error) for error in here), str(here[0])
    assert all(error.cure for error in found)


BAD_NAMES = ["", "A", "a_b", "a.b", "1a", "-a", "a-", "a b", "a;reboot", 'a"b', "a\nb", "é", "a" * 300, "$(id)", "../x"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("section", [("roles",), ("sites",), (*OREGON, "hubs"), (*OREGON, "hosts")])
def test_a_name_that_could_break_out_of_a_file_is_refused(name, section):
    entries = {"roles": {"id": 9}, "hubs": {"id": 9}, "hosts": {"role": "web", "id": 9}}
    entry = entries.get(section[-1], {**right()["sites"]["paris"], "id": 9})
    values = changed(*section, name, entry)
    assert any("is no name" in error.limit for error in mistakes(values))


def test_all_mistakes_are_told_at_once():
    values = right()
    values["overlay"]["ipv4"] = "10.100.0.0/24"
    values["roles"]["db"]["id"] = 0
    values["sites"]["oregon"].update(id=999, cloud="gcp")
    values["sites"]["oregon"]["hosts"]["web-1"]["id"] = 999
    values["sites"]["paris"]["hubs"]["a"]["port"] = 22
    places = {error.place for error in mistakes(values)}
    assert places == {
        "overlay.ipv4",
        "roles.db.id",
        "sites.oregon.id",
        "sites.oregon.cloud",
        "sites.oregon.hosts.web-1.id",
        "sites.paris.hubs.a.port",
    }


def test_a_mistake_in_a_role_is_not_told_again_for_each_of_its_hosts():
    assert {error.place for error in mistakes(changed("roles", "web", "id", 0))} == {"roles.web.id"}


def test_an_error_reads_as_one_line_with_place_value_limit_and_cure():
    (error,) = mistakes(changed("roles", "db", "id", 300))
    assert str(error) == (
        "vcubev:roles.db.id: 300 does not fit in overlay 10.100.0.0/16, which holds role ids 1-255. "
        "Choose a free id or widen vcubev:overlay."
    )


@given(stacks(), st.data())
@settings(max_examples=30, deadline=None)
def test_whatever_stands_in_the_file_the_answer_is_a_topology_or_its_mistakes(values, data):
    """Any value in any place: never another exception than StackErrors."""
    broken = copy.deepcopy(values)
    entry = broken
    while True:
        key = data.draw(st.sampled_from(sorted(entry)))
        if not isinstance(entry[key], dict) or not entry[key] or data.draw(st.booleans()):
            break
        entry = entry[key]
    junk = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.just({})
    )
    entry[key] = data.draw(junk)
    try:
        load(broken, CLOUDS)
    except StackErrors as raised:
        assert raised.errors


BROKEN_FILES = {
    "no YAML": "config: {a: [",
    "nothing": "",
    "a list": "- 1",
    "no config": "environment: [x]",
    "a key twice": "config:\n  vcubev:roles: {a: {id: 1}, a: {id: 2}}\n",
    "colons unquoted": "config:\n  vcubev:overlay: {ipv6: fd5c::/48: }\n",
}


@pytest.mark.parametrize("text", BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_a_file_that_is_no_stack_file_is_named_with_its_fault(text, tmp_path):
    file = tmp_path / "Pulumi.broken.yaml"
    file.write_text(text)
    with pytest.raises(StackErrors) as raised:
        load_file(file, CLOUDS)
    assert "Pulumi.broken.yaml" in str(raised.value) and len(raised.value.errors) == 1
