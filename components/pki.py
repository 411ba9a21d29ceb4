"""The mesh's certificate authority and what it signs. Keys are secrets of the stack's state and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi_tls as tls
from pulumi import ComponentResource, Output, ResourceOptions

from components.model import tlscrypt
from components.model.topology import Certificates, VirtualAddress

ORGANIZATION = "vcubev"
CA_USES = ["cert_signing", "crl_signing"]
# OpenVPN's remote-cert-tls wants the keyUsage extension to exist, beside the extended usage.
HOST_USES = ["digital_signature", "client_auth"]
HUB_USES = ["digital_signature", "server_auth", "client_auth"]  # hubs dial each other, too


@dataclass(frozen=True)
class Identity:
    """A machine's certificate and key, as PEM."""

    certificate_pem: Output[str]
    key_pem: Output[str]


class Authority(ComponentResource):
    """One CA per mesh, ECDSA P-256, the secret behind the tls-crypt keys, and the operator's login key."""

    certificate_pem: Output[str]
    login_private_key: Output[str]
    login_public_key: Output[str]

    def __init__(self, name: str, lifetimes: Certificates, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Authority", name, None, opts)
        child = ResourceOptions(parent=self)
        self._lifetimes = lifetimes
        self._key = tls.PrivateKey(f"{name}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        self._certificate = tls.SelfSignedCert(
            f"{name}-cert",
            private_key_pem=self._key.private_key_pem,
            is_ca_certificate=True,
            allowed_uses=CA_USES,
            subject={"common_name": f"{name} authority", "organization": ORGANIZATION},
            validity_period_hours=lifetimes.ca_validity_hours,
            set_subject_key_id=True,
            opts=child,
        )
        self._channel = tls.PrivateKey(f"{name}-channel", algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        login = tls.PrivateKey(f"{name}-login", algorithm="ED25519", opts=child)
        self.certificate_pem = self._certificate.cert_pem
        self.login_private_key = Output.secret(login.private_key_openssh)
        self.login_public_key = login.public_key_openssh
        self.register_outputs({"certificate_pem": self.certificate_pem})

    def issue(
        self, name: str, common_name: str, address: VirtualAddress, uses: list[str], opts: ResourceOptions
    ) -> Identity:
        """Sign a certificate that binds a virtual address to a name.

        Args:
            name: Prefix of the engine's resource names.
            common_name: "host.<name>" or "hub.<site>.<hub>".
            address: Written into subject.serialNumber (IPv4, which the hubs' hooks read) and the SAN (both).
        """
        key = tls.PrivateKey(f"{name}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=opts)
        request = tls.CertRequest(
            f"{name}-request",
            private_key_pem=key.private_key_pem,
            subject={
                "common_name": common_name,
                "organization": ORGANIZATION,
                "serial_number": str(address.ipv4),
            },
            ip_addresses=[str(address.ipv4), str(address.ipv6)],
            opts=opts,
        )
        certificate = tls.LocallySignedCert(
            f"{name}-cert",
            ca_private_key_pem=self._key.private_key_pem,
            ca_cert_pem=self._certificate.cert_pem,
            cert_request_pem=request.cert_request_pem,
            allowed_uses=uses,
            validity_period_hours=self._lifetimes.validity_hours,
            early_renewal_hours=self._lifetimes.early_renewal_hours,
            opts=opts,
        )
        return Identity(certificate.cert_pem, Output.secret(key.private_key_pem))

    def hub_channel_key(self) -> Output[str]:
        """The `tls-crypt-v2` server key, the same on every hub."""
        return Output.secret(self._channel.private_key_pem).apply(tlscrypt.v2_server_key)

    def link_channel_key(self) -> Output[str]:
        """The `tls-crypt` key of the links; no host ever has it."""
        return Output.secret(self._channel.private_key_pem).apply(lambda secret: tlscrypt.static_key(secret, "links"))

    def host_channel_key(self, identity: Identity) -> Output[str]:
        """One host's `tls-crypt-v2` key, derived from its own private key."""
        secrets = Output.all(self._channel.private_key_pem, identity.key_pem)
        return Output.secret(secrets).apply(lambda both: tlscrypt.v2_client_key(both[0], both[1]))
