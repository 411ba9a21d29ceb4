"""Direct tunnels in the engine's eyes: switched on they add, and a host more touches nobody."""

import json

import pytest

from components.model.bundle import unpack
from components.model.topology import DIRECT_PORTS
from tests.components.declared import declare, lab_values

COMMAND, CERTIFICATE = "command:remote:Command", "tls:index/locallySignedCert:LocallySignedCert"
FIREWALL = "lab:index:Firewall"
HOSTS = ("db-1", "db-2", "web-1", "web-2")
SERVICES = {"ldap": {"on": "db", "ports": ["389/tcp"], "from": ["web"]}}
RANGE = f"{DIRECT_PORTS.start}-{DIRECT_PORTS.stop - 1}"


def values_with(**more):
    values = {**lab_values(), **more}
    values.pop("tests", None)
    return values


def differs(before, after):
    return {
        name
        for (kind, name), args in after.made.items()
        if "vcubev" not in kind and ((kind, name) not in before.made or before.made[kind, name].inputs != args.inputs)
    }


def files_of(made, name):
    return unpack(made.of_type(COMMAND)[name]["stdin"])["files"]


def test_without_the_word_nothing_is_declared_of_it():
    for values in (values_with(), values_with(direct=False)):
        made = declare(values)
        assert not [name for _, name in made.made if "direct" in name]
        sent = [inputs["stdin"] for inputs in made.of_type(COMMAND).values() if inputs.get("stdin")]
        assert not any("vcubev-direct" in str(unpack(text)["files"]) for text in sent)
        assert RANGE not in str(made.of_type(FIREWALL))


def test_switching_it_on_adds_and_changes_hosts_packet_filters_and_firewalls_only():
    off, on = (declare(values_with(services=SERVICES, direct=word)) for word in (False, True))
    added = {name for _, name in on.made} - {name for _, name in off.made}
    hosts = {f"m-{host}-direct{part}" for host in HOSTS for part in ("", "-cert")}
    assert added == hosts | {"m-oregon-a-direct", "m-paris-a-direct"}
    changed = differs(off, on) - added
    firewalls = {f"m-{site}-{kind}" for site in ("oregon", "paris") for kind in ("hosts", "private")}
    assert changed == firewalls | {f"m-{host}-install" for host in HOSTS}
    for host in HOSTS:
        one, other = (files_of(made, f"m-{host}-install") for made in (off, on))
        assert {path for path in other if one.get(path) != other[path]} == {
            "/etc/nftables.conf",
            "/etc/sysusers.d/vcubev.conf",
        }


def test_the_open_ports_are_from_anywhere_for_public_hosts_and_from_the_site_for_private_ones():
    firewalls = declare(values_with(direct=True)).of_type(FIREWALL)
    rules = {name: [rule for rule in i["rules"] if rule["ports"] == [RANGE]] for name, i in firewalls.items()}
    assert [rule["sources"] for rule in rules["m-oregon-hosts"]] == [["0.0.0.0/0"]]
    assert [rule["sources"] for rule in rules["m-oregon-private"]] == [["172.30.1.0/24"]]
    assert rules["m-oregon-hubs"] == []


@pytest.mark.parametrize("role", ["web", "db"])
def test_a_host_more_touches_nobody_else(role):
    values = values_with(direct=True, services=SERVICES)
    before = declare(values)
    values["sites"]["paris"]["hosts"]["new"] = {"role": role, "id": 99}
    assert all("new" in name for name in differs(before, declare(values)))


def test_a_laptop_has_no_direct_tunnels():
    values = values_with(direct=True)
    values["sites"]["paris"]["hosts"]["laptop"] = {"role": "web", "id": 9, "unmanaged": True}
    assert not [name for _, name in declare(values).made if "laptop-direct" in name]


def test_a_host_tells_no_address_that_it_has_not():
    made = declare(values_with(direct=True))
    told = {
        host: json.loads(files_of(made, f"m-{host}-direct")["/etc/vcubev/direct.json"]["content"]) for host in HOSTS
    }
    assert told["db-1"]["public"] == "" and told["db-1"]["private"]
    assert told["web-1"]["public"]


def test_the_listeners_certificate_is_for_the_hosts_own_key_and_both_are_revoked_by_one_name():
    made = declare(values_with(direct=True)).of_type(CERTIFICATE)
    first, second = made["m-web-1-cert"], made["m-web-1-direct-cert"]
    assert first["certRequestPem"] == second["certRequestPem"]
    assert (first["allowedUses"], second["allowedUses"]) == (
        ["digital_signature", "client_auth"],
        ["digital_signature", "server_auth"],
    )
