"""Credentials for an attacker: the mesh's own, taken out of its state, and forged ones that differ in one thing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.model import tlscrypt

PLAINTEXT = "plaintext"
SPARE_ADDRESS = "10.100.1.77"  # no host's
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True)
class Credentials:
    """What an OpenVPN end shows, as PEM; None: it has none."""

    ca: str
    certificate: str | None
    key: str | None
    channel: str  # tls-crypt-v2 client key, or the links' tls-crypt key

    def with_channel(self, channel: str) -> Credentials:
        return replace(self, channel=channel)

    def without_certificate(self) -> Credentials:
        return replace(self, certificate=None, key=None)


class Forge:
    """Signs what an attacker would like to have, by the mesh's own CA or by one that calls itself the same."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Take the keys of a state, as `pulumi stack export --show-secrets` tells it."""
        self._resources = {r["urn"].rpartition("::")[2]: r.get("outputs", {}) for r in state["deployment"]["resources"]}
        authority = next(name.removesuffix("-channel") for name in self._resources if name.endswith("-channel"))
        self.ca = self._plain(f"{authority}-cert", "certPem")
        self._ca_key = self._key(f"{authority}-key")
        self._secret = self._plain(f"{authority}-channel", "privateKeyPem")
        self._stranger_key = ec.generate_private_key(ec.SECP256R1())
        self.other_ca = self._self_signed(self._stranger_key)

    def _plain(self, resource: str, output: str) -> str:
        value = self._resources[resource][output]
        return json.loads(value[PLAINTEXT]) if isinstance(value, dict) else value

    def _key(self, resource: str) -> ec.EllipticCurvePrivateKey:
        pem = self._plain(resource, "privateKeyPem").encode()
        return serialization.load_pem_private_key(pem, None)

    def stolen(self, resource: str) -> Credentials:
        """Return what one of the stack's own machines has; named as the engine's resources are."""
        key = self._plain(f"{resource}-key", "privateKeyPem")
        certificate = self._plain(f"{resource}-cert", "certPem")
        return Credentials(self.ca, certificate, key, tlscrypt.v2_client_key(self._secret, key))

    def signed(
        self,
        common_name: str,
        address: str | None,
        uses: tuple[x509.ObjectIdentifier, ...] = CLIENT,
        by_other_ca: bool = False,
        age_days: float = 0,
    ) -> Credentials:
        """Return credentials with a new key.

        Args:
            address: What subject.serialNumber says; None: there is none.
            by_other_ca: Sign with a CA of the attacker's own, which carries the same name as the mesh's.
            age_days: It was valid for a day, that long ago; negative: it will be.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if address is not None:
            # As UTF-8, which may hold what a PrintableString may not.
            names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, address, _ASN1Type.UTF8String))
        began = datetime.now(UTC) - timedelta(days=age_days + 0.5)
        authority = x509.load_pem_x509_certificate(self.ca.encode())
        certificate = (
            x509.CertificateBuilder(authority.subject, x509.Name(names), key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=1))
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .sign(self._stranger_key if by_other_ca else self._ca_key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        channel = tlscrypt.v2_client_key(self._secret, pem)
        return Credentials(self.ca, certificate.public_bytes(serialization.Encoding.PEM).decode(), pem, channel)

    def rightful(self, common_name: str, address: str = SPARE_ADDRESS) -> Credentials:
        """Return what the program would give to a host of this name and address."""
        return self.signed(common_name, address)

    def wrapped_elsewhere(self) -> str:
        """Return a tls-crypt-v2 client key that another mesh's hubs would take."""
        return tlscrypt.v2_client_key("another mesh's secret", "some client's secret")

    def hubs_channel(self) -> str:
        """Return the hubs' own tls-crypt-v2 key, which no host has."""
        return tlscrypt.v2_server_key(self._secret)

    def link_channel(self) -> str:
        """Return the links' own tls-crypt key, which only hubs have."""
        return tlscrypt.static_key(self._secret, "links")

    def _self_signed(self, key: ec.EllipticCurvePrivateKey) -> str:
        subject = x509.load_pem_x509_certificate(self.ca.encode()).subject
        began = datetime.now(UTC) - timedelta(hours=1)
        return (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )


def _usage(**on: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: on.get(use, False) for use in every})
