"""The components against a recording engine. What only a real engine can show is in tests/lab."""

import json

import pulumi
import pytest

from components.model.bundle import unpack
from components.model.topology import LINK_PORTS
from tests.components.declared import declare, lab_values

COMMAND = "command:remote:Command"
KEY = "tls:index/privateKey:PrivateKey"


@pytest.fixture(scope="module")
def lab():
    return declare(lab_values())


def inputs(recorder):
    return {key: args.inputs for key, args in recorder.made.items()}


def bundles(recorder):
    """Return name -> what is sent to a machine's installer."""
    commands = recorder.of_type(COMMAND)
    return {name: unpack(fields["stdin"]) for name, fields in commands.items() if "stdin" in fields}


def test_preview_declares_what_up_creates(lab):
    assert set(declare(lab_values(), preview=True).made) == set(lab.made), "a resource made in apply() hides at preview"


def test_two_meshes_live_side_by_side_and_one_below_a_component():
    both = declare(lab_values(), twice=True)
    assert len(both.made) == 2 * len(declare(lab_values()).made) + 1


def test_adding_a_host_only_adds(lab):
    values = lab_values()
    values["sites"]["paris"]["hosts"]["web-3"] = {"role": "web", "id": 3, "private": True}
    more = declare(values)
    assert set(lab.made) < set(more.made)
    changed = [key for key, fields in inputs(lab).items() if inputs(more)[key] != fields and "Mesh" not in key[0]]
    assert not changed, "a host's arrival must touch nothing that exists"


SERVICES = {
    "db": {"on": "db", "ports": ["5432/tcp"], "from": ["web"]},
    "near": {"on": "db-2", "ports": ["53/udp"], "from": ["paris", "oregon"]},
}


def test_with_services_ten_hosts_and_a_service_more_only_add():
    values = {**lab_values(), "services": SERVICES}
    before = declare(values)
    hosts = {f"web-{n}": {"role": "web", "id": n, "private": n % 2 == 0} for n in range(10, 20)}
    values["sites"]["paris"]["hosts"] |= {**hosts, "db-9": {"role": "db", "id": 9}}
    values["services"] = {**SERVICES, "mail": {"on": "web", "ports": ["25/tcp"], "from": ["any"]}}
    after = declare(values)
    changed = {name for (_, name), fields in inputs(before).items() if fields != inputs(after)[(_, name)]}
    assert not changed, "what exists must not be touched"


def test_metrics_only_add_and_so_does_a_host_more_with_them(lab):
    values = {**lab_values(), "metrics": {"from": ["db"]}}
    asked = declare(values)
    assert set(lab.made) < set(asked.made), "off unless asked for"
    assert {name for _, name in set(asked.made) - set(lab.made)} == {
        f"m-{member}-metrics" for member in ("oregon-a", "paris-a", "web-1", "web-2", "db-1", "db-2")
    }
    values["sites"]["paris"]["hosts"] |= {"web-3": {"role": "web", "id": 3}, "db-3": {"role": "db", "id": 3}}
    more = declare(values)
    for before, after in ((lab, asked), (asked, more)):
        changed = {name for (_, name), fields in inputs(before).items() if fields != inputs(after)[(_, name)]}
        assert not changed, "what exists must not be touched"


def test_the_rules_of_services_are_on_a_machine_before_traffic_is(lab):
    made = declare({**lab_values(), "services": SERVICES})
    for machine, services in {"m-db-2": 2 + 4, "m-web-1": 0, "m-paris-a": 2 + 4}.items():
        wanted = [name for _, name in made.made if name.startswith(f"{machine}-service-")]
        depends = made.options[COMMAND, f"{machine}-install"].dependencies
        first = [urn.rpartition("::")[2] for urn in depends if "-service-" in urn]
        assert sorted(wanted) == sorted(first) and len(wanted) == services - (machine != "m-web-1"), machine


def test_adding_a_site_changes_no_hub_no_link_and_no_host(lab):
    values = lab_values()
    values["sites"]["tokyo"] = {"id": 3, "cloud": "lab", "region": "ap-east", "hubs": {"a": {"id": 3}}, "hosts": {}}
    more = declare(values)
    changed = {name for (_, name), fields in inputs(lab).items() if fields != inputs(more)[(_, name)]}
    assert not changed, "hosts hear of new hubs from their own"


def test_removing_a_site_leaves_the_identities_of_the_others(lab):
    values = lab_values()
    del values["sites"]["paris"]
    fewer = declare(values)
    assert set(fewer.made) < set(lab.made)
    changed = {name for (_, name), fields in inputs(fewer).items() if fields != inputs(lab)[(_, name)]}
    assert not changed


def test_how_long_a_new_machine_may_take_is_its_sites_to_say_and_touches_nothing_that_runs(lab):
    values = lab_values()
    values["sites"]["paris"]["machine"] = {"boot_seconds": 900}
    patient = declare(values)
    tries = {name: fields["connection"]["dialErrorLimit"] for name, fields in patient.of_type(COMMAND).items()}
    firsts = {name for name in tries if name.endswith("first-contact")}
    assert tries["m-web-2-first-contact"] > tries["m-web-1-first-contact"] > 60
    assert {tries[name] for name in tries if name not in firsts} == {60}
    changed = {name for (_, name), fields in inputs(lab).items() if fields != inputs(patient)[(_, name)]}
    assert all(name.endswith(("-met", "-first-contact")) for name in changed), "what is done once, and kept as it was"


def test_every_command_verifies_the_machine_that_it_speaks_to(lab):
    for name, fields in lab.of_type(COMMAND).items():
        connection = fields["connection"]
        assert connection["hostKey"], name
        if not name.endswith("first-contact"):
            assert connection["hostKey"].startswith("ssh-ed25519"), f"{name}: the seeded key is for first contact only"
        proxy = connection.get("proxy")
        assert proxy is None or proxy["hostKey"], name


def test_private_hosts_are_reached_through_their_own_sites_hub_and_public_ones_directly(lab):
    machines = lab.of_type("lab:index:Machine")
    for name, fields in lab.of_type(COMMAND).items():
        machine = name.removesuffix("-first-contact").removesuffix("-install")
        if machine in machines:
            assert ("proxy" in fields["connection"]) == (not machines[machine]["public"]), name


def test_a_rebuilt_machine_gets_its_files_anew_and_does_not_lose_them_again(lab):
    installs = {name: fields for name, fields in lab.of_type(COMMAND).items() if "stdin" in fields}
    assert any("delete" in fields for fields in installs.values())
    assert not any("triggers" in fields for fields in installs.values()), "a replacement would delete what it installed"


def test_keys_travel_by_stdin_only(lab):
    secrets = [args.name for (typ, _), args in lab.made.items() if typ == KEY]
    assert len(secrets) > 10
    for name, fields in lab.of_type(COMMAND).items():
        visible = {key: value for key, value in fields.items() if key not in ("stdin", "connection")}
        assert "PRIVATE KEY" not in str(visible), f"{name} shows a key to everyone who lists processes"
        assert fields["logging"] == "none", f"{name} would print into the engine's log"
        assert "stdin" not in fields or "stdin" in lab.secret[COMMAND, name]


def test_a_key_goes_to_its_own_machine_and_no_other(lab):
    homes = {}
    for name, bundle in bundles(lab).items():
        for path, spec in bundle["files"].items():
            if path == "/etc/vcubev/pki/key.pem":
                assert spec["mode"] == "0600"
                homes.setdefault(spec["content"], []).append(name)
    assert len(homes) == 6 and all(len(names) == 1 for names in homes.values())


def test_hosts_never_get_what_hubs_share(lab):
    for name, bundle in bundles(lab).items():
        if bundle["name"] == "host":
            assert "/etc/vcubev/pki/link.key" not in bundle["files"], name
            assert "server key" not in bundle["files"]["/etc/vcubev/pki/tls-crypt-v2.key"]["content"], name


def test_the_authoritys_key_goes_to_no_machine(lab):
    authority = next(args for (typ, name), args in lab.made.items() if typ == KEY and name.endswith("ca-key"))
    signing = lab.of_type("tls:index/locallySignedCert:LocallySignedCert")
    key = next(iter(signing.values()))["caPrivateKeyPem"]
    assert authority and key and not any(key in str(bundle) for bundle in bundles(lab).values())


def test_certificates_carry_address_name_and_use(lab):
    requests = lab.of_type("tls:index/certRequest:CertRequest")
    certificates = lab.of_type("tls:index/locallySignedCert:LocallySignedCert")
    host, hub = requests["m-web-1-request"], requests["m-oregon-a-request"]
    assert (host["subject"]["commonName"], host["subject"]["serialNumber"]) == ("host.web-1", "10.100.1.1")
    assert (hub["subject"]["commonName"], hub["subject"]["serialNumber"]) == ("hub.oregon.a", "10.100.0.1")
    assert host["ipAddresses"] == ["10.100.1.1", "fd5c:ab1e:0:1::1"]
    assert certificates["m-web-1-cert"]["allowedUses"] == ["digital_signature", "client_auth"]
    assert "server_auth" in certificates["m-oregon-a-cert"]["allowedUses"]
    assert certificates["m-web-1-cert"]["validityPeriodHours"] == 365 * 24
    assert certificates["m-web-1-cert"]["earlyRenewalHours"] == 90 * 24


def test_lifetimes_come_from_the_stack_file():
    values = lab_values()
    values["certificates"] = {"ca_validity_days": 100, "validity_days": 30, "renew_before_days": 10}
    recorder = declare(values)
    certificate = recorder.of_type("tls:index/locallySignedCert:LocallySignedCert")["m-web-1-cert"]
    assert (certificate["validityPeriodHours"], certificate["earlyRenewalHours"]) == (30 * 24, 10 * 24)
    assert recorder.of_type("tls:index/selfSignedCert:SelfSignedCert")["m-ca-cert"]["validityPeriodHours"] == 2400


def test_a_hub_is_open_for_tunnels_to_all_and_for_ssh_to_operators_only():
    values = lab_values()
    values["operators"] = ["192.0.2.128/25"]
    rules = declare(values).of_type("lab:index:Firewall")
    hub = {(rule["protocol"], *rule["ports"]): rule["sources"] for rule in rules["m-oregon-hubs"]["rules"]}
    assert hub == {
        ("tcp", "22"): ["192.0.2.128/25", "198.19.255.0/32"],
        ("icmp",): ["0.0.0.0/0"],
        ("udp", "1194", f"{LINK_PORTS.start}-{LINK_PORTS.stop - 1}"): ["0.0.0.0/0"],
        ("tcp", "443"): ["0.0.0.0/0"],
    }
    private = {rule["protocol"]: rule for rule in rules["m-oregon-private"]["rules"]}
    assert set(private) == {"tcp", "icmp"} and all(source.endswith("/32") for source in private["tcp"]["sources"])


def test_user_data_is_constant_and_secret_free(lab):
    values = lab_values()
    values["sites"]["oregon"]["hubs"]["b"] = {"id": 9}
    more = declare(values).of_type("lab:index:Machine")
    for name, fields in lab.of_type("lab:index:Machine").items():
        assert more[name]["user_data"] == fields["user_data"]
        assert "user_data" in lab.secret["lab:index:Machine", name]
        assert str(fields).count("BEGIN OPENSSH PRIVATE KEY") == 1, "the first contact's host key and no other"


def test_what_is_alike_on_all_machines_is_kept_small_in_the_state(lab):
    """The engine's file back end writes the whole state at each step: a byte here is a megabyte there."""
    for name, fields in lab.of_type(COMMAND).items():
        if "stdin" in fields:
            assert len(fields["stdin"]) < len(json.dumps(unpack(fields["stdin"]))), name
    host = lab.of_type(COMMAND)["m-web-1-install"]["stdin"]
    assert len(host) < 43_000, "two of these are in the state for each host"


def test_a_renamed_host_leads_the_engine_to_all_that_was_made_for_it(lab):
    values = lab_values()
    hosts = values["sites"]["paris"]["hosts"]
    hosts["shop"] = {**hosts.pop("web-2"), "formerly": ["web-2"]}
    renamed = declare(values)
    (former,) = renamed.options["vcubev:index:Host", "m-shop"].aliases
    assert former.spec.name == "m-web-2"
    # The engine takes a component's alias for what is below it where its name begins with the component's
    # (pulumi/pulumi: pkg/resource/deploy, inheritedChildAlias).
    new = {(kind, name.replace("m-shop", "m-web-2", 1)) for kind, name in renamed.made if (kind, name) not in lab.made}
    assert new == set(lab.made) - set(renamed.made), "something of it would be made anew"


@pytest.mark.parametrize("ping", [True, False])
def test_a_stack_tells_who_looks_at_it_that_hosts_answer_no_pings(ping, monkeypatch):
    exported = {}
    monkeypatch.setattr(pulumi, "export", lambda name, outputs: exported.update(outputs))
    declare({**lab_values(), "services": {}, "policy": {"ping": ping}})
    assert exported.get("pings", "not told") == ("not told" if ping else False)
