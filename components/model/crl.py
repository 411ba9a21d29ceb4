"""Revocation lists, and the bundle by which a hub gets them. No plugin makes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from components.model.files import FileSpec, copied, json_file
from components.model.render import HOOKS
from components.model.revocation import Ledger, Revoked

DIRECTORY = "/etc/vcubev/crl"
REFUSE = f"{HOOKS}/refuse.py"


def revocation_list(certificate_pem: str, key_pem: str, revoked: Iterable[Revoked], number: int) -> str:
    """Return one authority's list as PEM, the same bytes for the same arguments.

    It is valid from the authority's first moment to its last, so that no clock and no forgotten renewal locks hosts
    out: an expired list refuses everybody. It begins later by a second with each number. OpenVPN 2.6.14 leaves every
    second one of the lists that it had when it reads them anew, and OpenSSL takes the one that began last.

    Args:
        revoked: Whoever signed them: serial numbers are random, 128 bits.
        number: How often the list has changed.
    """
    authority = x509.load_pem_x509_certificate(certificate_pem.encode())
    key = load_pem_private_key(key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    begin = authority.not_valid_before_utc
    own_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(begin + timedelta(seconds=number))
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for one in sorted(revoked):
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(max(one.since, begin))
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(key, SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(Encoding.PEM).decode()


def ends_of(certificate_pem: str) -> datetime:
    return x509.load_pem_x509_certificate(certificate_pem.encode()).not_valid_after_utc


def crl_files(
    lists: Iterable[str], ledger: Ledger, names: Iterable[str], hubs: Iterable[str], ends: Mapping[str, datetime]
) -> dict[str, FileSpec]:
    """Return what tells a hub whom to refuse. A change of it restarts nothing: refuse.py ends the sessions concerned.

    Args:
        lists: One for each authority that is trusted.
        names: Common names that are refused whatever their certificate.
        hubs: Common names of all hubs. The links of one that is none any more go with their own bundles, at the end of
            an `up`: ending them before it stops would cut off the hosts that are still on it.
        ends: What ends when, for those who watch this hub: epoch seconds for its agent.
    """
    lists, hubs = list(lists), set(hubs)
    told = {
        "lists": len(lists),
        "number": ledger.number,
        "serials": {str(one.serial): {"name": one.name, "hub": one.name in hubs} for one in sorted(ledger.revoked)},
        "names": sorted(names),
        "ends": {what: int(moment.astimezone(UTC).timestamp()) for what, moment in sorted(ends.items())},
    }
    action = (f"run {REFUSE}",)
    return {
        f"{DIRECTORY}/crl.pem": FileSpec("".join(lists), on_change=action),
        f"{DIRECTORY}/crl.json": json_file(told, action),
        REFUSE: copied("agents/refuse.py", on_change=action),
    }
