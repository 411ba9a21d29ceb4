"""Whom hubs are told to refuse, run after run, and keys that take over from others."""

import json

import pytest
from cryptography import x509

from components import revocation
from components.model.crl import DIRECTORY, REFUSE
from tests.components.declared import declare, lab_values

COMMAND, KEY = "command:remote:Command", "tls:index/privateKey:PrivateKey"
HUBS = ("m-oregon-a", "m-paris-a")


@pytest.fixture(scope="module")
def lab():
    return declare(lab_values())


def bundle(recorder, name):
    return json.loads(recorder.of_type(COMMAND)[name]["stdin"])["files"]


def lists(recorder, hub):
    """Return the revocation lists that a hub gets."""
    pem = bundle(recorder, f"{hub}-crl")[f"{DIRECTORY}/crl.pem"]["content"]
    end = "-----END X509 CRL-----\n"
    return [x509.load_pem_x509_crl(f"{part}{end}".encode()) for part in pem.split(end) if part.strip()]


def refused(recorder, hub=HUBS[0]):
    """Return common name -> serial numbers, as the hub is told, once it is sure that its lists say the same."""
    told = json.loads(bundle(recorder, f"{hub}-crl")[f"{DIRECTORY}/crl.json"]["content"])
    for one in lists(recorder, hub):
        assert {str(entry.serial_number) for entry in one} == set(told["serials"])
    names = {}
    for serial, entry in told["serials"].items():
        names.setdefault(entry["name"], set()).add(int(serial))
    return names


def certificate(recorder, name):
    pem = {urn.rpartition("::")[2]: outputs.get("certPem") for urn, outputs in recorder.outputs.items()}[name]
    return x509.load_pem_x509_certificate(pem.encode())


def changed(before, after):
    """Return the names of resources that exist in both runs with other inputs."""
    kept = set(before.made) & set(after.made)
    return {key[1] for key in kept if before.made[key].inputs != after.made[key].inputs and "Stash" not in key[0]}


def without(host, site="paris"):
    values = lab_values()
    del values["sites"][site]["hosts"][host]
    return values


def with_keys(**keys):
    return {**lab_values(), "keys": keys}


def test_a_run_that_changes_nothing_tells_hubs_nothing_new(lab):
    again = declare(lab_values(), after=lab)
    assert not changed(lab, again) and refused(again) == {}
    assert not changed(lab, declare(lab_values(), after=again))


def test_a_host_that_comes_changes_nothing_even_where_others_are_revoked(lab):
    gone = declare(without("web-2"), after=lab)
    values = without("web-2")
    values["sites"]["paris"]["hosts"]["web-3"] = {"role": "web", "id": 3}
    for preview in (True, False):
        more = declare(values, preview=preview, after=gone)
        assert not changed(gone, more)
    assert set(gone.made) < set(more.made)


def test_a_state_that_cannot_be_read_while_the_engine_saves_it_is_read_again(lab):
    assert set(refused(declare(without("web-2"), after=lab, unreadable=2))) == {"host.web-2"}


def test_a_state_that_stays_unreadable_ends_the_run(lab, monkeypatch):
    monkeypatch.setattr(revocation, "WAITS", (0.01, 0.01))
    with pytest.raises(Exception, match="failed to load checkpoint"):
        declare(without("web-2"), after=lab, unreadable=3)


def test_a_host_that_leaves_the_stack_file_is_refused_by_every_hub_and_by_no_restart(lab):
    gone = declare(without("web-2"), after=lab)
    for hub in HUBS:
        assert refused(gone, hub) == {"host.web-2": {certificate(lab, "m-web-2-cert").serial_number}}
    touched = changed(lab, gone)
    assert touched == {f"{hub}-crl" for hub in HUBS}, "a hub's own bundle would drain it"
    actions = [action for spec in bundle(gone, f"{HUBS[0]}-crl").values() for action in spec["on_change"]]
    assert set(actions) == {f"run {REFUSE}"}


def test_a_hub_that_leaves_is_refused_by_the_others(lab):
    values = lab_values()
    del values["sites"]["paris"]
    gone = declare(values, after=lab)
    assert set(refused(gone)) == {"hub.paris.a", "host.web-2", "host.db-2"}


def test_revoked_is_for_good(lab):
    runs = [lab, declare(without("web-2"), after=lab)]
    runs.append(declare(without("web-2"), after=runs[-1]))
    # It comes back: by the same name, with a certificate of its own.
    runs.append(declare(lab_values(), after=runs[-1]))
    assert refused(runs[1]) == refused(runs[2]) == refused(runs[3])
    assert not changed(runs[1], runs[2])


def test_a_run_that_failed_before_it_deleted_anything_is_gone_on_with(lab):
    broken_off = declare(without("web-2"), after=lab)
    # What it had not come to is there still.
    broken_off.outputs = {**lab.outputs, **broken_off.outputs}
    again = declare(without("web-2"), after=broken_off)
    assert refused(again) == refused(broken_off) and not changed(broken_off, again)


def test_a_run_that_failed_before_it_kept_its_ledger_is_gone_on_with(lab):
    first = declare(lab_values())
    first.outputs = {urn: o for urn, o in first.outputs.items() if "Revocations" not in urn}
    assert set(refused(declare(without("web-2"), after=first))) == {"host.web-2"}


@pytest.mark.parametrize("listed", ["web-1", "serial"])
def test_a_name_or_a_serial_number_on_the_list_is_refused_while_the_machine_stays(lab, listed):
    serial = certificate(lab, "m-web-1-cert").serial_number
    values = {**lab_values(), "revoked": [str(serial) if listed == "serial" else listed]}
    revoked = declare(values, after=lab)
    assert refused(revoked) == {"host.web-1": {serial}}
    assert changed(lab, revoked) == {f"{hub}-crl" for hub in HUBS}
    off_the_list = declare(lab_values(), after=revoked)
    assert refused(off_the_list) == {"host.web-1": {serial}}, "the old certificate does not come back"


def test_a_name_on_the_list_is_refused_from_the_first_run_on():
    first = declare({**lab_values(), "revoked": ["web-1"]})
    told = json.loads(bundle(first, f"{HUBS[0]}-crl")[f"{DIRECTORY}/crl.json"]["content"])
    assert told["names"] == ["host.web-1"], "its certificate is not known before it is made"


def test_two_meshes_of_one_stack_do_not_revoke_each_others_hosts():
    first = declare(lab_values(), twice=True)
    again = declare(lab_values(), twice=True, after=first)
    assert not changed(first, again) and refused(again) == refused(again, "other-oregon-a") == {}


def test_lists_are_signed_by_the_authority_last_as_long_and_carry_its_number(lab):
    authority = certificate(lab, "m-ca-cert")
    (one,) = lists(lab, HUBS[0])
    (two,) = lists(declare(without("web-2"), after=lab), HUBS[0])
    for crl in (one, two):
        assert crl.is_signature_valid(authority.public_key()) and crl.issuer == authority.subject
        assert crl.next_update_utc == authority.not_valid_after_utc, "an expired list locks everybody out"
    assert one.last_update_utc == authority.not_valid_before_utc, "a hub's clock may be late"
    assert two.last_update_utc > one.last_update_utc, "of two lists OpenSSL takes the one that began last"


def test_nobody_comes_in_before_the_hub_has_its_list(lab):
    for hub in HUBS:
        urn = next(urn for urn in lab.outputs if urn.endswith(f"::{hub}-crl"))
        assert urn in lab.options[COMMAND, f"{hub}-install"].dependencies


# Keys


def test_a_stack_that_never_rotated_has_its_resources_under_their_first_names(lab):
    names = {name for typ, name in lab.made if typ == KEY}
    assert {"m-ca-key", "m-ca-login", "m-ca-channel", "m-web-1-key", "m-oregon-a-key"} <= names
    written = declare(with_keys(authority=[1], login=[1], hosts={"web-1": [1]}, hubs={"oregon/a": [1]}))
    assert set(written.made) == set(lab.made) and not changed(lab, written)


def test_a_hosts_new_key_touches_that_host_only_and_its_old_certificate_goes_in_the_next_run(lab):
    begun = declare(with_keys(hosts={"web-1": [2, 1]}), after=lab)
    assert changed(lab, begun) == {"m-web-1-install"} and refused(begun) == {}
    done = declare(with_keys(hosts={"web-1": [2]}), after=begun)
    assert changed(begun, done) == {f"{hub}-crl" for hub in HUBS}
    assert refused(done) == {"host.web-1": {certificate(lab, "m-web-1-cert").serial_number}}


def test_a_hubs_new_key_touches_that_hub_only(lab):
    begun = declare(with_keys(hubs={"oregon/a": [2, 1]}), after=lab)
    assert changed(lab, begun) == {"m-oregon-a-install"}
    done = declare(with_keys(hubs={"oregon/a": [2]}), after=begun)
    assert set(refused(done)) == {"hub.oregon.a"}


def test_a_renewed_certificate_leaves_the_one_before_it_alone(lab):
    values = lab_values()
    values["certificates"] = {"validity_days": 300}
    renewed = declare(values, after=lab)
    renewed.outputs = {
        urn: {**outputs, "certPem": _another(lab, urn)} if urn.endswith("::m-web-1-cert") else outputs
        for urn, outputs in renewed.outputs.items()
    }
    later = declare(values, after=renewed)
    assert refused(renewed) == refused(later) == {}
    gone = values | {"sites": without("web-1", "oregon")["sites"]}
    assert len(refused(declare(gone, after=later))["host.web-1"]) == 2, "both are known until they expire"


def _another(lab, urn):
    """Return a certificate of the same name as a run in between might have signed."""
    other = declare(with_keys(hosts={"web-1": [7]}))
    return next(o["certPem"] for u, o in other.outputs.items() if u.endswith("m-web-1-cert-7"))


def test_an_authority_takes_over_in_three_runs_and_everybody_is_always_trusted(lab):
    beside = declare(with_keys(authority=[1, 2]), after=lab)
    turned = declare(with_keys(authority=[2, 1]), after=beside)
    done = declare(with_keys(authority=[2]), after=turned)
    for run, trusted in ((lab, 1), (beside, 2), (turned, 2), (done, 1)):
        machines = [name for name in run.of_type(COMMAND) if name.endswith("-install")]
        for name in machines:
            files = bundle(run, name)
            assert files["/etc/vcubev/pki/ca.pem"]["content"].count("BEGIN") == trusted
        assert all(len(lists(run, hub)) == trusted for hub in HUBS)
    issuers = {name: certificate(turned, name).issuer for name in ("m-web-1-cert", "m-oregon-a-cert")}
    assert set(issuers.values()) == {certificate(turned, "m-ca-cert-2").subject}
    assert certificate(beside, "m-web-1-cert").issuer == certificate(lab, "m-ca-cert").subject
    assert certificate(beside, "m-ca-cert-2").subject != certificate(lab, "m-ca-cert").subject
    assert refused(done) == {}


def test_a_login_key_takes_over_in_three_runs_and_no_machine_is_made_anew(lab):
    machines = lab.of_type("lab:index:Machine")
    keys = {name: outputs for (_, name), outputs in _keys(lab).items()}
    runs = [declare(with_keys(login=login), after=lab) for login in ([1, 2], [2, 1], [2])]
    for run, accepted, used in zip(runs, ("12", "21", "2"), "122", strict=True):
        # The engine keeps what is in the state; mocks do not.
        assert "input" in run.options["pulumi:index:Stash", "m-web-1-first-login"].ignoreChanges
        own = {name: outputs for (_, name), outputs in _keys(run).items()} | keys
        names = {"1": "m-ca-login", "2": "m-ca-login-2"}
        for name in ("m-web-1-install", "m-oregon-a-install"):
            text = bundle(run, name)["/home/vcubev/.ssh/authorized_keys"]["content"]
            assert text.split("\n") == [*(own[names[one]]["publicKeyOpenssh"].strip() for one in accepted), ""]
            connection = run.of_type(COMMAND)[name]["connection"]
            assert connection["privateKey"] == own[names[used]]["privateKeyOpenssh"]
    assert {name: m["user_data"] for name, m in machines.items()} == {
        name: m["user_data"] for name, m in runs[0].of_type("lab:index:Machine").items()
    }


def _keys(recorder):
    """Return key resource -> its outputs."""
    names = {f"{KEY}::{name}": (typ, name) for typ, name in recorder.made if typ == KEY}
    found = {urn: next((key for end, key in names.items() if urn.endswith(end)), None) for urn in recorder.outputs}
    return {key: recorder.outputs[urn] for urn, key in found.items() if key}
