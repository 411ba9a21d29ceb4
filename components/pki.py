"""The mesh's certificate authority and what it signs. Keys are secrets of the stack's state and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_tls as tls
from pulumi import ComponentResource, Output, ResourceOptions

from components.model import tlscrypt
from components.model.crl import crl_files, ends_of, revocation_list
from components.model.files import FileSpec
from components.model.keys import FIRST, numbered
from components.model.revocation import Issued, Ledger, read_certificate, text_of
from components.model.topology import Topology, VirtualAddress
from components.revocation import Revocations, RevocationsArgs

ORGANIZATION = "vcubev"
CA_USES = ["cert_signing", "crl_signing"]
# OpenVPN's remote-cert-tls wants the keyUsage extension to exist, beside the extended usage.
HOST_USES = ["digital_signature", "client_auth"]
LISTENER_USES = ["digital_signature", "server_auth"]  # a host that another one dials
HUB_USES = ["digital_signature", "server_auth", "client_auth"]  # hubs dial each other, too


@dataclass(frozen=True)
class Identity:
    """A machine's certificate and key, as PEM."""

    certificate_pem: Output[str]
    key_pem: Output[str]


@dataclass(frozen=True)
class LoginKey:
    """An operator's key, as OpenSSH writes it."""

    private: Output[str]
    public: Output[str]


class Authority(ComponentResource):
    """One CA per mesh, ECDSA P-256, the secret behind the tls-crypt keys, and the operator's login key.

    While a key is rotated there are two of it: the one in use, and one that is accepted beside it.
    """

    certificate_pem: Output[str]  # of all CAs that are trusted, the one that signs first
    login: LoginKey  # the one in use
    accepted_logins: Output[list[str]]  # public keys

    def __init__(self, name: str, topology: Topology, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Authority", name, None, opts)
        child = self._child = ResourceOptions(parent=self)
        self._name, self._topology, self._lifetimes = name, topology, topology.certificates
        members = {member.common_name: topology.keys.of(member.common_name) for member in topology.members}
        # Until its machine has the certificate of its new name, a renamed host comes with that of the old one.
        members |= {f"host.{old}": members[host.common_name] for host in topology.hosts for old in host.formerly}
        args = RevocationsArgs(_signer_name(name, FIRST[0]), members, topology.revoked)
        self._revocations = Revocations(f"{name}-revocations", args, child)
        self._signers = [self._signer(generation) for generation in topology.keys.authority]
        self._channel = tls.PrivateKey(f"{name}-channel", algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        logins = [self._login(generation) for generation in topology.keys.login]
        self.certificate_pem = Output.all(*(signer.certificate_pem for signer in self._signers)).apply("".join)
        self.login, self.accepted_logins = logins[0], Output.all(*(login.public for login in logins))
        self._issued: dict[str, Output[Issued]] = {}  # by common name
        self._requests: dict[str, tls.CertRequest] = {}  # likewise
        self._lists = Output.all(*map(self._list, self._signers))
        self.register_outputs({"certificate_pem": self.certificate_pem})

    def _signer(self, generation: int) -> Identity:
        name = self._name
        key = tls.PrivateKey(
            numbered(f"{name}-key", generation), algorithm="ECDSA", ecdsa_curve="P256", opts=self._child
        )
        certificate = tls.SelfSignedCert(
            numbered(f"{name}-cert", generation),
            private_key_pem=key.private_key_pem,
            is_ca_certificate=True,
            allowed_uses=CA_USES,
            subject={"common_name": _signer_name(name, generation), "organization": ORGANIZATION},
            validity_period_hours=self._lifetimes.ca_validity_hours,
            set_subject_key_id=True,
            opts=self._child,
        )
        return Identity(certificate.cert_pem, Output.secret(key.private_key_pem))

    def _login(self, generation: int) -> LoginKey:
        key = tls.PrivateKey(numbered(f"{self._name}-login", generation), algorithm="ED25519", opts=self._child)
        return LoginKey(Output.secret(key.private_key_openssh), key.public_key_openssh)

    def issue(
        self,
        name: str,
        common_name: str,
        address: VirtualAddress,
        uses: list[str],
        opts: ResourceOptions,
        names: Sequence[str] = (),
    ) -> Identity:
        """Sign a certificate that binds a virtual address to a name.

        Args:
            name: Prefix of the engine's resource names.
            common_name: "host.<name>" or "hub.<site>.<hub>".
            address: Written into subject.serialNumber (IPv4, which the hubs' hooks read) and the SAN (both).
            names: For the SAN: hubs let the address be found by these and no other.
        """
        generation = self._topology.keys.of(common_name)[0]
        key = tls.PrivateKey(numbered(f"{name}-key", generation), algorithm="ECDSA", ecdsa_curve="P256", opts=opts)
        request = tls.CertRequest(
            numbered(f"{name}-request", generation),
            private_key_pem=key.private_key_pem,
            subject={
                "common_name": common_name,
                "organization": ORGANIZATION,
                "serial_number": str(address.ipv4),
            },
            dns_names=list(names) or None,
            ip_addresses=[str(address.ipv4), str(address.ipv6)],
            opts=opts,
        )
        self._requests[common_name] = request
        certificate = self._sign(name, common_name, uses, opts)
        self._issued[common_name] = certificate.apply(lambda pem: read_certificate(pem, generation))
        return Identity(certificate, Output.secret(key.private_key_pem))

    def issue_for_direct(self, name: str, common_name: str, opts: ResourceOptions) -> Output[str]:
        """Sign a second certificate for a host's key, with which it awaits other hosts; see `issue`.

        Of its own: the first one stays as it is where direct tunnels are switched on or off. OpenSSL takes none of a
        listener that is for clients only, whatever OpenVPN is told of key usage. Revoked with the first: by the name.
        """
        generation = self._topology.keys.of(common_name)[0]
        certificate = self._sign(name, common_name, LISTENER_USES, opts)
        self._issued[f"{common_name} direct"] = certificate.apply(lambda pem: read_certificate(pem, generation))
        return certificate

    def _sign(self, name: str, common_name: str, uses: list[str], opts: ResourceOptions) -> Output[str]:
        return tls.LocallySignedCert(
            numbered(f"{name}-cert", self._topology.keys.of(common_name)[0]),
            ca_private_key_pem=self._signers[0].key_pem,
            ca_cert_pem=self._signers[0].certificate_pem,
            cert_request_pem=self._requests[common_name].cert_request_pem,
            allowed_uses=uses,
            validity_period_hours=self._lifetimes.validity_hours,
            early_renewal_hours=self._lifetimes.early_renewal_hours,
            opts=opts,
        ).cert_pem

    # Revocation

    def _list(self, signer: Identity) -> Output[str]:
        known = Output.all(signer.certificate_pem, signer.key_pem, self._revocations.ledger)
        made = known.apply(lambda all: revocation_list(all[0], all[1], all[2].revoked, all[2].number))
        return Output.unsecret(made)

    def refusals(self, identity: Identity) -> dict[str, Output[object]]:
        """Return what `refusal_files` takes, for one hub."""
        return {
            "lists": self._lists,
            "ledger": self._revocations.ledger,
            "authority_pem": self._signers[0].certificate_pem,
            "certificate_pem": identity.certificate_pem,
        }

    def refusal_files(
        self, lists: list[str], ledger: Ledger, authority_pem: str, certificate_pem: str
    ) -> Mapping[str, FileSpec]:
        """Return the files that tell a hub whom to refuse, and when what ends."""
        authority = ends_of(authority_pem)
        ends = {"authority": authority, "revocation_list": authority, "certificate": ends_of(certificate_pem)}
        names = [name for name in self._topology.revoked if not name.isdecimal()]
        return crl_files(lists, ledger, names, [hub.common_name for hub in self._topology.hubs], ends)

    def remember(self) -> None:
        """Keep what was signed for the next run; called when all has been."""
        self._revocations.remember(self._issued.values())

    async def outputs_before(self) -> Mapping[str, Any]:
        """See `Revocations.stack_outputs`."""
        return await self._revocations.stack_outputs()

    def lives(self) -> Output[dict[str, object]]:
        """Return when what ends: a stack output. It warns of machines that nobody lets in any more."""
        issued = Output.all(*self._issued.values())
        parts = Output.all(self._signers[0].certificate_pem, self._revocations.ledger, issued)
        return parts.apply(lambda all: self._lives(*all))

    def _lives(self, authority_pem: str, ledger: Ledger, issued: list[Issued]) -> dict[str, object]:
        serials = {one.serial for one in ledger.revoked}
        refused = sorted({one.name for one in issued if one.serial in serials or one.name in self._topology.revoked})
        for name in refused:
            if name not in self._topology.revoked:
                pulumi.log.warn(f"the certificate of {name} is revoked, for good: scripts/rotate gives it another")
        first = min(issued, key=lambda one: (one.until, one.name), default=None)
        end = text_of(ends_of(authority_pem))
        return {
            "authority": end,
            "revocation_list": end,
            "earliest": {"name": first.name, "end": text_of(first.until)} if first else {"name": "", "end": end},
            "revoked": {str(one.serial): one.name for one in sorted(ledger.revoked)},
            "refused": refused,
        }

    # Keys of the control channel

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


def _signer_name(name: str, generation: int) -> str:
    """Return a CA's common name, one for each: the lists of revoked certificates are found by it."""
    return f"{name} authority" if generation == FIRST[0] else f"{name} authority {generation}"
