"""The `tls` stand-in makes what the official plugin makes, and changes it under the same rules."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pulumi.provider.experimental.provider import PropertyDiffKind

from engine.standins import keys
from engine.standins import tls as standin
from engine.standins.properties import Failure, is_unknown, plain, to_property, unknown
from engine.standins.usages import ALLOWED_USES

KEY = "tls:index/privateKey:PrivateKey"
REQUEST = "tls:index/certRequest:CertRequest"
SELF_SIGNED = "tls:index/selfSignedCert:SelfSignedCert"
SIGNED = "tls:index/locallySignedCert:LocallySignedCert"

SUBJECT = {"commonName": "web-1", "serialNumber": "10.100.1.11", "country": "US", "streetAddresses": ["a", "b"]}
CA_INPUTS = {
    "validityPeriodHours": 24,
    "allowedUses": ["cert_signing", "crl_signing"],
    "isCaCertificate": True,
    "setSubjectKeyId": True,
    "setAuthorityKeyId": True,
    "subject": {"commonName": "CA"},
}


@pytest.fixture
def ca(tls):
    """Return inputs of a CA-signed certificate, all but the request."""
    key = tls.create(KEY, algorithm="ECDSA", ecdsaCurve="P256")
    made = tls.create(SELF_SIGNED, privateKeyPem=key["privateKeyPem"], **CA_INPUTS)
    return {
        "caPrivateKeyPem": key["privateKeyPem"],
        "caCertPem": made["certPem"],
        "validityPeriodHours": 12,
        "allowedUses": ["digital_signature", "client_auth", "server_auth"],
    }


@pytest.fixture
def request_pem(tls):
    key = tls.create(KEY, algorithm="ED25519")
    names = {"dnsNames": ["web-1.example"], "ipAddresses": ["10.100.1.11", "fd5c::1"], "uris": ["spiffe://x/web-1"]}
    return tls.create(REQUEST, privateKeyPem=key["privateKeyPem"], subject=SUBJECT, **names)["certRequestPem"]


def openssl(*words: str) -> str:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("algorithm", [("RSA", "P224"), ("ECDSA", "P384"), ("ED25519", "P224")])
def test_openssl_accepts_a_chain_of_every_kind_of_key(tls, tmp_path, algorithm):
    name, curve = algorithm
    key = tls.create(KEY, algorithm=name, ecdsaCurve=curve)
    root = tls.create(SELF_SIGNED, privateKeyPem=key["privateKeyPem"], **CA_INPUTS)
    asked = tls.create(REQUEST, privateKeyPem=key["privateKeyPem"], subject=SUBJECT)
    leaf = tls.create(
        SIGNED,
        caPrivateKeyPem=key["privateKeyPem"],
        caCertPem=root["certPem"],
        certRequestPem=asked["certRequestPem"],
        validityPeriodHours=1,
        allowedUses=["client_auth"],
    )
    (tmp_path / "ca.pem").write_text(plain(root["certPem"]))
    (tmp_path / "leaf.pem").write_text(plain(leaf["certPem"]))
    said = openssl("verify", "-x509_strict", "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "ca.pem"))
    assert said.rstrip().endswith("OK"), said
    said = openssl("verify", "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem"))
    assert said.rstrip().endswith("OK"), said
    assert plain(leaf["caKeyAlgorithm"]) == plain(asked["keyAlgorithm"]) == name


def test_a_signed_certificate_carries_the_requests_address_and_names(tls, ca, request_pem):
    made = tls.create(SIGNED, certRequestPem=request_pem, **ca)
    certificate = x509.load_pem_x509_certificate(plain(made["certPem"]).encode())
    subject = [(item.rfc4514_attribute_name, item.value) for item in certificate.subject]
    expected = [("C", "US"), ("STREET", "a"), ("STREET", "b"), ("CN", "web-1"), ("2.5.4.5", "10.100.1.11")]
    assert subject == expected, "hubs read the overlay address from serialNumber"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["web-1.example", "10.100.1.11", "fd5c::1", "spiffe://x/web-1"]
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [use.dotted_string for use in extended] == ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]
    ca_certificate = x509.load_pem_x509_certificate(plain(ca["caCertPem"]).encode())
    own = ca_certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    above = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert own == above
    assert plain(made["id"]) == str(certificate.serial_number)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=12)


def test_every_usage_the_official_plugin_knows_is_known(tls):
    key = tls.create(KEY, algorithm="ED25519")
    uses = {"privateKeyPem": key["privateKeyPem"], "validityPeriodHours": 1}
    made = tls.create(SELF_SIGNED, allowedUses=list(ALLOWED_USES), subject={"commonName": "x"}, **uses)
    certificate = x509.load_pem_x509_certificate(plain(made["certPem"]).encode())
    assert len(ALLOWED_USES) == 23
    assert len(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == 14


def test_a_path_length_is_written_but_zero_is_no_limit_as_in_the_official_plugin(tls):
    key = tls.create(KEY, algorithm="ED25519")
    for given, written in ((2, 2), (0, None), (-1, None)):
        made = tls.create(SELF_SIGNED, privateKeyPem=key["privateKeyPem"], maxPathLength=given, **CA_INPUTS)
        certificate = x509.load_pem_x509_certificate(plain(made["certPem"]).encode())
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert (limits.ca, limits.path_length) == (True, written)


@pytest.mark.parametrize(
    ("algorithm", "curve", "header"),
    [("RSA", "P224", "RSA PRIVATE KEY"), ("ECDSA", "P256", "EC PRIVATE KEY"), ("ED25519", "P224", "PRIVATE KEY")],
)
def test_a_key_comes_in_the_official_formats(tls, tmp_path, algorithm, curve, header):
    made = {name: plain(value) for name, value in tls.create(KEY, algorithm=algorithm, ecdsaCurve=curve).items()}
    assert made["privateKeyPem"].startswith(f"-----BEGIN {header}-----\n")
    assert made["privateKeyPemPkcs8"].startswith("-----BEGIN PRIVATE KEY-----\n")
    assert made["privateKeyOpenssh"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert made["publicKeyOpenssh"].endswith("\n") and made["rsaBits"] == 2048 and made["ecdsaCurve"] == curve
    (tmp_path / "key.pub").write_text(made["publicKeyOpenssh"])
    for digest, name in (("sha256", "publicKeyFingerprintSha256"), ("md5", "publicKeyFingerprintMd5")):
        said = subprocess.run(
            ["ssh-keygen", "-l", "-E", digest, "-f", str(tmp_path / "key.pub")], capture_output=True, text=True
        )
        assert said.stdout.split()[1].removeprefix("MD5:") == made[name]
    public = serialization.load_pem_public_key(made["publicKeyPem"].encode())
    assert made["id"] == keys.state_id(keys.public_der(public))
    assert made["__meta"] == '{"schema_version": "1"}', "the official plugin would run its upgrade from version 0"


def test_a_key_id_is_the_sha1_of_the_public_key_less_what_go_takes_for_space():
    assert keys.state_id(b"0abc") == hashlib.sha1(b"0abc").hexdigest()
    assert keys.state_id(b"0abc \n\xc2\xa0") == hashlib.sha1(b"0abc").hexdigest()
    assert keys.state_id(b"0abc\x85") == hashlib.sha1(b"0abc\x85").hexdigest()


def test_a_p224_key_has_no_openssh_form_and_is_still_made(tls):
    made = tls.create(KEY, algorithm="ECDSA")
    assert plain(made["ecdsaCurve"]) == "P224"
    assert plain(made["privateKeyOpenssh"]) == plain(made["publicKeyOpenssh"]) == ""


def test_private_keys_are_secret_and_public_ones_are_not(tls, ca, request_pem):
    made = tls.create(KEY, algorithm="ED25519")
    secret = {name for name, value in made.items() if value.is_secret}
    assert secret == {"privateKeyPem", "privateKeyOpenssh", "privateKeyPemPkcs8"}
    inputs, _ = tls.check(REQUEST, {"privateKeyPem": plain(made["privateKeyPem"])})
    assert inputs["privateKeyPem"].is_secret, "a key given as plain text would lie open in the state's inputs"
    signed = tls.create(SIGNED, certRequestPem=request_pem, **ca)
    assert {name for name, value in signed.items() if value.is_secret} == {"caPrivateKeyPem"}


def test_a_preview_knows_the_inputs_and_nothing_that_is_computed(tls):
    made = tls.create(KEY, preview=True, algorithm="ECDSA", ecdsaCurve="P256")
    assert plain(made["ecdsaCurve"]) == "P256" and is_unknown(made["privateKeyPem"])
    assert is_unknown(made["publicKeyOpenssh"]) and made["privateKeyPem"].is_secret
    waiting = tls.create(SELF_SIGNED, preview=True, privateKeyPem=unknown(secret=True), **CA_INPUTS)
    assert is_unknown(waiting["certPem"]) and is_unknown(waiting["privateKeyPem"])
    assert plain(waiting["readyForRenewal"]) is False


def test_every_input_replaces_but_early_renewal_is_changed_in_place(tls, ca, request_pem):
    inputs = {**ca, "certRequestPem": request_pem, "earlyRenewalHours": 1}
    state = tls.create(SIGNED, **inputs)
    assert tls.diff(SIGNED, state, **inputs).changes is False
    for name, value in (("validityPeriodHours", 13), ("allowedUses", ["client_auth"]), ("isCaCertificate", True)):
        assert tls.diff(SIGNED, state, **{**inputs, name: value}).replaces == [name]
    assert tls.diff(SIGNED, state, **{**inputs, "certRequestPem": unknown()}).replaces == ["certRequestPem"]
    in_place = tls.diff(SIGNED, state, **{**inputs, "earlyRenewalHours": 2})
    assert (in_place.changes, in_place.replaces) == (True, [])
    updated = tls.update(SIGNED, state, **{**inputs, "earlyRenewalHours": 2})
    assert plain(updated["earlyRenewalHours"]) == 2 and plain(updated["certPem"]) == plain(state["certPem"])
    assert tls.diff(SIGNED, updated, **{**inputs, "earlyRenewalHours": 2}).changes is False


def test_a_changed_subject_names_the_field_that_replaces(tls):
    key = tls.create(KEY, algorithm="ED25519")
    state = tls.create(REQUEST, privateKeyPem=key["privateKeyPem"], subject=SUBJECT)
    subject = {**SUBJECT, "serialNumber": "10.100.1.12"}
    found = tls.diff(REQUEST, state, privateKeyPem=key["privateKeyPem"], subject=subject)
    assert found.detailed_diff["subject.serialNumber"].kind == PropertyDiffKind.UPDATE_REPLACE
    assert found.replaces == ["subject"]


def test_a_default_written_out_or_a_path_length_taken_away_changes_nothing(tls):
    key = tls.create(KEY, algorithm="RSA")
    assert tls.diff(KEY, key, algorithm="RSA", rsaBits=2048).changes is False
    inputs = {"privateKeyPem": key["privateKeyPem"], **CA_INPUTS}
    state = tls.create(SELF_SIGNED, maxPathLength=1, **inputs)
    assert tls.diff(SELF_SIGNED, state, **inputs).changes is False


def test_a_certificate_near_its_end_is_replaced_and_a_refresh_says_so(tls, ca, request_pem, monkeypatch):
    inputs = {**ca, "certRequestPem": request_pem, "earlyRenewalHours": 2}
    state = tls.create(SIGNED, **inputs)
    now = standin.utc_now()
    monkeypatch.setattr(standin, "utc_now", lambda: now + timedelta(hours=9.9))
    assert tls.diff(SIGNED, state, **inputs).changes is False, "12 hours less 2 have not passed"
    monkeypatch.setattr(standin, "utc_now", lambda: now + timedelta(hours=10.1))
    assert tls.diff(SIGNED, state, **inputs).replaces == ["readyForRenewal"]
    assert plain(tls.refresh(SIGNED, state)["readyForRenewal"]) is True
    assert plain(tls.create(SIGNED, **inputs)["readyForRenewal"]) is False


@pytest.mark.parametrize(
    ("resource_type", "inputs", "said"),
    [
        (KEY, {"algorithm": "DSA"}, 'algorithm value must be one of: ["RSA" "ECDSA" "ED25519"], got: "DSA"'),
        (KEY, {"algorithm": "ECDSA", "ecdsaCurve": "P1"}, "ecdsa_curve value must be one of"),
        (REQUEST, {}, "Missing required property 'privateKeyPem'"),
        (SELF_SIGNED, {"privateKeyPem": "", "validityPeriodHours": -1, "allowedUses": []}, "at least 0, got: -1"),
        (SELF_SIGNED, {"privateKeyPem": "", "validityPeriodHours": 1, "allowedUses": ["x"]}, "allowed_uses[0] value"),
    ],
)
def test_a_wrong_input_is_refused_before_anything_is_made(tls, resource_type, inputs, said):
    assert said in " ".join(tls.check(resource_type, inputs)[1])


@pytest.mark.parametrize("pem", ["not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_an_unreadable_key_fails_without_being_shown(tls, pem):
    with pytest.raises(Failure, match="Failed to parse private key PEM") as raised:
        tls.create(REQUEST, privateKeyPem=pem)
    assert "AAAA" not in str(raised.value) and "not a key" not in str(raised.value)


def test_a_ca_key_that_is_not_the_certificates_is_refused(tls, ca, request_pem):
    other = tls.create(KEY, algorithm="ED25519")
    with pytest.raises(Failure, match="doesn't match parent's PublicKey"):
        tls.create(SIGNED, certRequestPem=request_pem, **{**ca, "caPrivateKeyPem": other["privateKeyPem"]})


def test_secrecy_of_an_input_reaches_the_output_of_that_name(tls):
    key = tls.create(KEY, algorithm="ED25519")
    hidden = to_property(["a.example"], secret=True)
    assert tls.create(REQUEST, privateKeyPem=key["privateKeyPem"], dnsNames=hidden)["dnsNames"].is_secret
