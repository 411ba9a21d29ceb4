"""Certificates and requests as the official `tls` plugin, and Go's crypto/x509 below it, make them.

Source: terraform-provider-tls internal/provider/{common_cert,resource_cert_request,resource_locally_signed_cert}.go
and Go's crypto/x509/x509.go, CreateCertificate: the order of extensions, and the rules the comments name.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID, ObjectIdentifier

from . import keys
from .properties import Failure
from .usages import EXTENDED_KEY_USAGES, KEY_USAGES

# In the order of Go's pkix.Name.ToRDNSequence.
SUBJECT_OIDS = {
    "country": NameOID.COUNTRY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "streetAddresses": NameOID.STREET_ADDRESS,
    "postalCode": NameOID.POSTAL_CODE,
    "commonName": NameOID.COMMON_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}
SAN_ORDER = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)  # Go's marshalSANs


def subject_name(subject: dict[str, Any]) -> x509.Name:
    """Build a distinguished name from the `subject` input.

    Raises:
        Failure: a value is too long for its field, or the country is not two letters (Go would let both pass).
    """
    rdns = []
    for name, oid in SUBJECT_OIDS.items():
        value = subject.get(name)
        texts = value if isinstance(value, list) else [value]
        try:
            attributes = [x509.NameAttribute(oid, text) for text in texts if text]
        except ValueError as error:
            raise Failure(f"Invalid Certificate Subject: {name}: {error}") from None
        if attributes:
            rdns.append(x509.RelativeDistinguishedName(attributes))
    return x509.Name(rdns)


def alternative_names(inputs: dict[str, Any]) -> x509.SubjectAlternativeName | None:
    names: list[x509.GeneralName] = []
    for kind, field in ((x509.DNSName, "dnsNames"), (x509.UniformResourceIdentifier, "uris")):
        for text in inputs.get(field) or []:
            try:
                names.append(kind(text))
            except ValueError as error:
                raise Failure(f'{field}: "{text}" cannot be written to a certificate: {error}') from None
    addresses: list[x509.GeneralName] = []
    for text in inputs.get("ipAddresses") or []:
        try:
            addresses.append(x509.IPAddress(ip_address(text)))
        except ValueError:
            raise Failure(f'Invalid IP address: Failed to parse "{text}"') from None
    ordered = sorted(names + addresses, key=lambda name: SAN_ORDER.index(type(name)))
    return x509.SubjectAlternativeName(ordered) if ordered else None


def request(inputs: dict[str, Any], key: keys.PrivateKey) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject_name(inputs.get("subject") or {}))
    names = alternative_names(inputs)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, signature_hash(key))


def self_signed(inputs: dict[str, Any], key: keys.PrivateKey, now: datetime) -> x509.Certificate:
    subject = subject_name(inputs.get("subject") or {})
    return _issue(inputs, subject, alternative_names(inputs), key.public_key(), key, None, now)


def locally_signed(
    inputs: dict[str, Any],
    csr: x509.CertificateSigningRequest,
    ca: x509.Certificate,
    ca_key: keys.PrivateKey,
    now: datetime,
) -> x509.Certificate:
    """Sign what the request asks for; usages, validity and CA flag come from the inputs alone.

    Raises:
        Failure: the CA's key and certificate do not belong together, or an input contradicts another.
    """
    if keys.public_der(ca_key.public_key()) != keys.public_der(ca.public_key()):
        raise Failure("Failed to create certificate: x509: provided PrivateKey doesn't match parent's PublicKey")
    # Of the request's subject Go copies the fields it names, in its own order, and drops an e-mail address.
    kept = [oid for name, oid in SUBJECT_OIDS.items() if name != "emailAddress"]
    subject = x509.Name(
        [x509.RelativeDistinguishedName(found) for oid in kept if (found := csr.subject.get_attributes_for_oid(oid))]
    )
    try:
        asked = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        wanted = [name for kind in SAN_ORDER for name in asked if isinstance(name, kind)]
        names = x509.SubjectAlternativeName(wanted) if wanted else None
    except x509.ExtensionNotFound:
        names = None
    return _issue(inputs, subject, names, csr.public_key(), ca_key, ca, now)


def _issue(
    inputs: dict[str, Any],
    subject: x509.Name,
    names: x509.SubjectAlternativeName | None,
    public_key: Any,
    signing_key: keys.PrivateKey,
    ca: x509.Certificate | None,
    now: datetime,
) -> x509.Certificate:
    issuer = subject if ca is None else ca.subject
    ends = now + timedelta(hours=int(inputs["validityPeriodHours"]))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(secrets.randbelow((1 << 128) - 1) + 1)
        .not_valid_before(now)
        .not_valid_after(ends)
    )
    for extension, critical in _extensions(inputs, subject, names, public_key, ca, issuer):
        builder = builder.add_extension(extension, critical)
    try:
        return builder.sign(signing_key, signature_hash(signing_key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Failure(f"Failed to create certificate: {error}") from None


def _extensions(
    inputs: dict[str, Any], subject: x509.Name, names: Any, public_key: Any, ca: x509.Certificate | None, issuer: Any
) -> list[tuple[x509.ExtensionType, bool]]:
    is_ca = bool(inputs.get("isCaCertificate"))
    if is_ca and not subject.rdns:
        raise Failure(
            "Invalid Certificate Subject: Must contain at least one Distinguished Name when creating Certificate "
            "Authority (CA)"
        )
    found: list[tuple[x509.ExtensionType, bool]] = []
    uses = list(inputs.get("allowedUses") or [])
    bits = {flag: use in uses for use, flag in KEY_USAGES.items()}
    if any(bits.values()):
        found.append((_key_usage(bits), True))
    extended = [ObjectIdentifier(EXTENDED_KEY_USAGES[use]) for use in uses if use in EXTENDED_KEY_USAGES]
    if extended:
        found.append((x509.ExtendedKeyUsage(extended), False))
    found.append((x509.BasicConstraints(is_ca, _path_length(inputs, is_ca)), True))
    own_id = keys.subject_key_id(public_key) if is_ca or inputs.get("setSubjectKeyId") else None
    if own_id is not None:
        found.append((x509.SubjectKeyIdentifier(own_id), False))
    authority_id = _authority_key_id(inputs, own_id, ca, subject, issuer)
    if authority_id is not None:
        found.append((x509.AuthorityKeyIdentifier(authority_id, None, None), False))
    if names is not None:
        found.append((names, not subject.rdns))  # RFC 5280 4.2.1.6: critical where nothing else names the holder
    return found


def _key_usage(bits: dict[str, bool]) -> x509.KeyUsage:
    if not bits["key_agreement"] and (bits["encipher_only"] or bits["decipher_only"]):
        # cryptography refuses this, and RFC 5280 leaves it without meaning; Go writes it.
        raise Failure("allowedUses: encipher_only and decipher_only need key_agreement beside them")
    return x509.KeyUsage(**bits)


def _path_length(inputs: dict[str, Any], is_ca: bool) -> int | None:
    length = inputs.get("maxPathLength")
    # Go reads 0 as "not given" unless told otherwise, which the official plugin forgets: 0 sets no limit there.
    if length is None or int(length) <= 0:
        return None
    if not is_ca:
        raise Failure("Failed to create certificate: x509: only CAs are allowed to specify MaxPathLen")
    return int(length)


def _authority_key_id(
    inputs: dict[str, Any], own_id: bytes | None, ca: x509.Certificate | None, subject: Any, issuer: Any
) -> bytes | None:
    if ca is None:
        if inputs.get("setAuthorityKeyId") and own_id is None:
            raise Failure("Invalid Certificate Authority: Could not determine Authority Key Identifier")
        return own_id if inputs.get("setAuthorityKeyId") else None
    try:
        ca_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None
    return ca_id if issuer != subject else None  # Go's rule


def signature_hash(key: keys.PrivateKey) -> hashes.HashAlgorithm | None:
    """Return what Go signs with: SHA-256, more for the longer curves, none for ED25519."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA512()
    return hashes.SHA256()


def load(text: str, pem_type: str, what: str) -> Any:
    """Read a "CERTIFICATE" or "CERTIFICATE REQUEST"; `what` begins the error text."""
    block = keys.first_pem(text)
    if block is None:
        raise Failure(f'Failed to parse {what} PEM: failed to decode PEM of expected type "{pem_type}" from bytes')
    if block[0] != pem_type:
        raise Failure(f'Failed to parse {what} PEM: invalid PEM type - expected "{pem_type}", got "{block[0]}"')
    loader = x509.load_pem_x509_certificate if pem_type == "CERTIFICATE" else x509.load_pem_x509_csr
    try:
        return loader(block[1])
    except ValueError as error:
        raise Failure(f"Failed to parse {what} PEM: failed to parse {pem_type.lower()}: {error}") from None


def pem(made: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


def der(made: x509.CertificateSigningRequest) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)
