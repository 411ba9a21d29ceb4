"""Every private key of a stack, and the search for its bytes wherever it may have been written down."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from components.model import tlscrypt

KEY_TYPE = "tls:index/privateKey:PrivateKey"
SAMPLE_BYTES = 32  # of a longer secret, its beginning and its end are looked for
# Line ends, also as JSON writes them, and JSON within JSON.
BREAKS = re.compile(rb"(?:\\+[nr]|\s)+")


@dataclass(frozen=True)
class Secret:
    """One private key, as raw bytes and as all texts that hold them: hex, and base64 at each alignment in whatever
    surrounds them (PEM of any kind, DER)."""

    name: str
    raw: bytes

    def texts(self) -> set[bytes]:
        found: set[bytes] = set()
        for part in {self.raw[:SAMPLE_BYTES], self.raw[-SAMPLE_BYTES:]}:
            hexadecimal = part.hex().encode()
            found |= {hexadecimal, hexadecimal.upper()}
            for before in range(3):
                encoded = base64.b64encode(bytes(before) + part)
                inner = encoded[ceil(before * 8 / 6) : (before + len(part)) * 8 // 6]
                found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
        return found

    def is_in(self, data: bytes, squeezed: bytes) -> bool:
        """Tell whether some bytes hold it; `squeezed` are the same without line breaks."""
        raw = any(part in data for part in {self.raw[:SAMPLE_BYTES], self.raw[-SAMPLE_BYTES:]})
        return raw or any(text in squeezed for text in self.texts())


def of_pem(name: str, pem: str) -> Secret:
    """Return the secret of a private key: the scalar of an elliptic curve's, the seed of an Ed25519 one."""
    ssh = "OPENSSH" in pem
    load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    key = load(pem.encode(), None)
    if isinstance(key, EllipticCurvePrivateKey):
        return Secret(name, key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big"))
    return Secret(name, key.private_bytes_raw())


def of_state(state: Mapping[str, Any]) -> dict[str, Secret]:
    """Return every private key in a state, and every key that is derived from one: resource name -> secret.

    Args:
        state: What `pulumi stack export --show-secrets` told.
    """
    pems = {}
    for resource in state["deployment"]["resources"]:
        if resource["type"] == KEY_TYPE:
            pem = resource["outputs"]["privateKeyPem"]
            pems[resource["urn"].rpartition("::")[2]] = json.loads(pem["plaintext"])
    found = {name: of_pem(name, pem) for name, pem in pems.items()}
    channel = next(pem for name, pem in pems.items() if name.endswith("-channel"))
    found["hubs' tls-crypt-v2 key"] = Secret("hubs' tls-crypt-v2 key", _body(tlscrypt.v2_server_key(channel)))
    link_key = "".join(tlscrypt.static_key(channel, "links").splitlines()[1:-1])
    found["links' tls-crypt key"] = Secret("links' tls-crypt key", bytes.fromhex(link_key))
    for name, pem in pems.items():
        client = _body(tlscrypt.v2_client_key(channel, pem))[: tlscrypt.STATIC_KEY_BYTES]
        found[f"{name}'s tls-crypt-v2 key"] = Secret(f"{name}'s tls-crypt-v2 key", client)
    return found


def _body(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


def found_in(places: Mapping[str, bytes], secrets: Iterable[Secret]) -> set[tuple[str, str]]:
    """Return which secrets are in which places: (place, secret's name)."""
    wanted = list(secrets)
    found = set()
    for place, data in places.items():
        squeezed = BREAKS.sub(b"", data)
        found |= {(place, secret.name) for secret in wanted if secret.is_in(data, squeezed)}
    return found
