"""Private keys as the official `tls` plugin makes, writes and reads them.

Source: terraform-provider-tls internal/provider/{common_key,resource_private_key,types}.go
"""

from __future__ import annotations

import hashlib
import re

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from .properties import Failure

CURVES = {"P224": ec.SECP224R1, "P256": ec.SECP256R1, "P384": ec.SECP384R1, "P521": ec.SECP521R1}
PRIVATE_KEY_TYPES = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
OTHER_PEM_TYPES = ("PUBLIC KEY", "CERTIFICATE", "CERTIFICATE REQUEST")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?\r?\n?-----END \1-----", re.DOTALL)

# What Go's strings.TrimSpace takes for space, in bytes: the official id is the hash of DER so trimmed, by accident.
GO_SPACES = re.compile(
    rb"(?:[\t-\r ]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)+\Z"
)


def state_id(der: bytes) -> str:
    """Return the id of a private key (from its public key's DER) or of a request (from its own DER)."""
    return hashlib.sha1(GO_SPACES.sub(b"", der)).hexdigest()


def generate(algorithm: str, rsa_bits: int, curve: str) -> PrivateKey:
    if algorithm == "RSA":
        try:
            return rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
        except ValueError as error:
            raise Failure(f"Unable to generate Key from configuration: {error}") from None
    if algorithm == "ECDSA":
        return ec.generate_private_key(CURVES[curve]())
    return ed25519.Ed25519PrivateKey.generate()


def algorithm_of(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePrivateKey) else "ED25519"


def first_pem(text: str) -> tuple[str, bytes] | None:
    """Return type and text of the first PEM block, or None; like Go's pem.Decode, what surrounds it is ignored."""
    match = PEM_BLOCK.search(text)
    return (match[1], match[0].encode() + b"\n") if match else None


def parse(text: str, what: str) -> PrivateKey:
    """Read a private key; `what` ("private key", "CA private key") begins the error text, the key is never in it."""
    block = first_pem(text)
    if block is None:
        reason = f"failed to decode PEM block: decoded bytes 0, undecoded {len(text.encode())}"
    elif block[0] in OTHER_PEM_TYPES:
        reason = f"unable to determine parser for PEM preamble: {block[0]}"
    elif block[0] not in PRIVATE_KEY_TYPES:
        reason = f"unsupported PEM preamble/type: {block[0]}"
    else:
        try:
            key = serialization.load_pem_private_key(block[1], password=None)
        except Exception as error:  # cryptography raises ValueError, TypeError and UnsupportedAlgorithm here
            reason = f"failed to parse private key given PEM preamble '{block[0]}': {type(error).__name__}"
        else:
            if isinstance(key, PrivateKey):
                return key
            reason = f"unsupported private key type: {type(key).__name__}"
    raise Failure(f"Failed to parse {what} PEM: {reason}")


def private_texts(key: PrivateKey) -> dict[str, str]:
    """Return the three private forms by property name; no OpenSSH form exists for P-224."""
    no_password = serialization.NoEncryption()

    def text(form: serialization.PrivateFormat) -> str:
        return key.private_bytes(serialization.Encoding.PEM, form, no_password).decode()

    pkcs8 = text(serialization.PrivateFormat.PKCS8)
    ed = isinstance(key, ed25519.Ed25519PrivateKey)  # has no traditional form
    return {
        "privateKeyPem": pkcs8 if ed else text(serialization.PrivateFormat.TraditionalOpenSSL),
        "privateKeyPemPkcs8": pkcs8,
        "privateKeyOpenssh": text(serialization.PrivateFormat.OpenSSH) if _openssh_knows(key.public_key()) else "",
    }


def public_texts(key: PublicKey) -> dict[str, str]:
    """Return the public forms by property name; the OpenSSH ones are empty for P-224, as official."""
    import base64

    texts = {
        "publicKeyPem": key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode(),
        "publicKeyOpenssh": "",
        "publicKeyFingerprintMd5": "",
        "publicKeyFingerprintSha256": "",
    }
    if _openssh_knows(key):
        line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
        blob = base64.b64decode(line.split()[1])
        digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        texts["publicKeyOpenssh"] = line + "\n"
        texts["publicKeyFingerprintMd5"] = hashlib.md5(blob).digest().hex(":")
        texts["publicKeyFingerprintSha256"] = f"SHA256:{digest}"
    return texts


def public_der(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def subject_key_id(key: PublicKey) -> bytes:
    """Return the SHA-1 that the official plugin writes as subject key identifier.

    For ED25519 it hashes the key inside a DER octet string, where RFC 5280 hashes the key alone; kept, since a
    certificate made here must equal one made there.
    """
    if isinstance(key, rsa.RSAPublicKey):
        hashed = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        hashed = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    else:
        hashed = b"\x04\x20" + key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha1(hashed).digest()


def _openssh_knows(key: PublicKey) -> bool:
    return not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp224r1")
