"""Keys of OpenVPN's control channel, derived from secrets that the stack already holds.

Derived, not drawn: the same stack always yields the same bytes, so a rebuilt hub takes up the hosts it left.
Source: OpenVPN doc/tls-crypt-v2.txt; doc/man-sections/tls-options.rst.
"""

from __future__ import annotations

import base64
import struct

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SERVER_KEY_BYTES = 128  # one `struct key`: 64 bytes of cipher key, 64 bytes of HMAC key
STATIC_KEY_BYTES = 256  # two `struct key`, one for each direction
METADATA = b"\x00"  # type 0: user-defined, empty; OpenVPN refuses a client key without a type byte


def static_key(secret: str, purpose: str) -> str:
    """Return an OpenVPN static key ("Static key V1") for `tls-crypt`.

    Args:
        secret: Any secret with at least 128 bits of entropy, for example a private key's PEM.
        purpose: Separates keys that come of one secret.
    """
    text = _derived(secret, purpose, STATIC_KEY_BYTES).hex()
    lines = [text[start : start + 32] for start in range(0, len(text), 32)]
    return "\n".join(["-----BEGIN OpenVPN Static key V1-----", *lines, "-----END OpenVPN Static key V1-----", ""])


def v2_server_key(secret: str) -> str:
    """Return the PEM of the `tls-crypt-v2` server key that all hubs of a mesh share."""
    return _pem("server", _derived(secret, "tls-crypt-v2 server", SERVER_KEY_BYTES))


def v2_client_key(server_secret: str, client_secret: str) -> str:
    """Return the PEM of one host's `tls-crypt-v2` key: its own 256 bytes and their wrap under the server key.

    Args:
        server_secret: What `v2_server_key` was given.
        client_secret: A secret of this host alone.
    """
    server_key = _derived(server_secret, "tls-crypt-v2 server", SERVER_KEY_BYTES)
    client_key = _derived(client_secret, "tls-crypt-v2 client", STATIC_KEY_BYTES)
    cipher_key, hmac_key = server_key[:32], server_key[64:96]
    tag_bytes, length_bytes = 32, 2
    length = struct.pack("!H", tag_bytes + len(client_key) + len(METADATA) + length_bytes)
    signer = hmac.HMAC(hmac_key, hashes.SHA256())
    signer.update(length + client_key + METADATA)
    tag = signer.finalize()
    encryptor = Cipher(algorithms.AES(cipher_key), modes.CTR(tag[:16])).encryptor()
    wrapped = encryptor.update(client_key + METADATA) + encryptor.finalize()
    return _pem("client", client_key + tag + wrapped + length)


def _derived(secret: str, purpose: str, length_bytes: int) -> bytes:
    derivation = HKDF(hashes.SHA256(), length_bytes, salt=b"vcubev", info=purpose.encode())
    return derivation.derive(secret.encode())


def _pem(side: str, key: bytes) -> str:
    text = base64.b64encode(key).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    label = f"OpenVPN tls-crypt-v2 {side} key"
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
