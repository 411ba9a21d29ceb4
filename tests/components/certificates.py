"""Keys and certificates as the tls plugin makes them, the same for the same name: what is signed with them is real."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


def key(name: str, digest: str) -> dict[str, Any]:
    private = ec.derive_private_key(int(digest[:60], 16) + 1, ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    return {
        "privateKeyPem": pem,
        "privateKeyOpenssh": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{digest}\n-----END OPENSSH PRIVATE KEY-----\n",
        "publicKeyOpenssh": f"ssh-test {digest}\n",
    }


def request(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"certRequestPem": json.dumps({"subject": inputs["subject"], "key": inputs["privateKeyPem"]})}


def self_signed(inputs: dict[str, Any], digest: str) -> dict[str, Any]:
    name = _name(inputs["subject"])
    return {"certPem": _signed(name, name, inputs["privateKeyPem"], inputs["privateKeyPem"], inputs, digest)}


def locally_signed(inputs: dict[str, Any], digest: str) -> dict[str, Any]:
    asked = json.loads(inputs["certRequestPem"])
    issuer = x509.load_pem_x509_certificate(inputs["caCertPem"].encode()).subject
    pem = _signed(_name(asked["subject"]), issuer, asked["key"], inputs["caPrivateKeyPem"], inputs, digest)
    return {"certPem": pem}


def _name(subject: dict[str, str]) -> x509.Name:
    kinds = {"commonName": NameOID.COMMON_NAME, "serialNumber": NameOID.SERIAL_NUMBER}
    return x509.Name([x509.NameAttribute(kinds[kind], subject[kind]) for kind in sorted(kinds) if kind in subject])


def _signed(
    subject: x509.Name, issuer: x509.Name, own_key: str, signing_key: str, inputs: dict[str, Any], digest: str
) -> str:
    public = load_pem_private_key(own_key.encode(), None).public_key()
    signer = load_pem_private_key(signing_key.encode(), None)
    # Another certificate for another key, name or authority, as a random number would be.
    serial = int(digest[:16], 16) << 64 | int.from_bytes(own_key[-200:-192].encode()) ^ int.from_bytes(
        signing_key[-200:-192].encode()
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(BEGAN)
        .not_valid_after(BEGAN + timedelta(hours=inputs["validityPeriodHours"]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(signer, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.PEM).decode()
