"""What is needed to go on with a stack on another computer, in one file that is worth nothing without a pass phrase."""

from __future__ import annotations

import base64
import json
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

FORMAT = "vcubev backup 1"
# A third of a second and 128 MB for each guess. OWASP asks for this or more (Password Storage Cheat Sheet, scrypt).
COST, BLOCK_SIZE, PARALLEL = 2**17, 8, 1
HIGHEST_COST = 2**20  # nobody's file makes a computer think for minutes
KEY_BYTES, SALT_BYTES, NONCE_BYTES = 32, 16, 12
SHORTEST_PHRASE = 12  # characters
PASSPHRASE_PROVIDER = "passphrase"
SALT_LINE = re.compile(r"^encryptionsalt:", re.MULTILINE)


class Unreadable(Exception):
    """A file is no backup, or not with this pass phrase."""


class CannotBackUp(Exception):
    """What would be written down could not be restored."""


@dataclass(frozen=True)
class Backup:
    """One stack, at one moment. Holds secrets: for memory only."""

    stack: str
    made: str  # ISO 8601
    stack_file: str  # its text
    state: Mapping[str, Any]  # as `stack export` writes it: its secrets are encrypted with the passphrase
    passphrase: str  # the engine's; "" where secrets are in a cloud's own key service


def gather(stack: str, made: str, stack_file: str, state: Mapping[str, Any], passphrase: str | None) -> Backup:
    """Return a stack's backup.

    Raises:
        CannotBackUp: The state's secrets could not be read again from it.
    """
    deployment = state.get("deployment", {})
    if not deployment.get("resources"):
        raise CannotBackUp(f"Stack {stack} has no machines: there is nothing to keep but its file.")
    provider = deployment.get("secrets_providers") or {}
    kind = provider.get("type", "")
    if kind == "service":
        raise CannotBackUp(
            f"Pulumi Cloud keeps the state of {stack} and the keys to it: nothing of them is on this computer. Keep "
            f"stacks/Pulumi.{stack}.yaml, for example in Git, and the log-in."
        )
    if kind == PASSPHRASE_PROVIDER and passphrase is None:
        raise CannotBackUp(
            "The state's passphrase is not known here: set PULUMI_CONFIG_PASSPHRASE_FILE as for `pulumi up`."
        )
    if kind == PASSPHRASE_PROVIDER and not SALT_LINE.search(stack_file):
        # Of a work tree that somebody has put right in the meantime.
        stack_file = f"{stack_file.rstrip()}\nencryptionsalt: {provider['state']['salt']}\n"
    return Backup(stack, made, stack_file, state, passphrase or "" if kind == PASSPHRASE_PROVIDER else "")


def sealed(backup: Backup, phrase: str) -> str:
    """Return a backup's file. Stack and date can be read by everybody, the rest by who has the pass phrase."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    head = {
        "format": FORMAT,
        "stack": backup.stack,
        "made": backup.made,
        "key": {"scrypt": [COST, BLOCK_SIZE, PARALLEL], "salt": _written(salt)},
        "cipher": {"aes-256-gcm": _written(nonce)},
    }
    content = zlib.compress(json.dumps(asdict(backup)).encode(), 9)
    key = _key(phrase, salt, COST, BLOCK_SIZE, PARALLEL)
    closed = AESGCM(key).encrypt(nonce, content, _bound(head))
    return json.dumps({**head, "content": _written(closed)}, indent=1) + "\n"


def opened(text: str, phrase: str) -> Backup:
    """Return what a backup's file holds.

    Raises:
        Unreadable: It is none, somebody has changed it, or the pass phrase is another.
    """
    try:
        whole = json.loads(text)
        head = {name: whole[name] for name in ("format", "stack", "made", "key", "cipher")}
        cost, block_size, parallel = head["key"]["scrypt"]
        salt, nonce = _read(head["key"]["salt"]), _read(head["cipher"]["aes-256-gcm"])
        closed = _read(whole["content"])
    except (ValueError, KeyError, TypeError):
        raise Unreadable("This is no backup that vcubev has written.") from None
    if head["format"] != FORMAT or (cost, block_size, parallel) > (HIGHEST_COST, BLOCK_SIZE, PARALLEL):
        raise Unreadable(f"This backup is of another kind ({head['format']!r}) than this program knows ({FORMAT!r}).")
    try:
        content = AESGCM(_key(phrase, salt, cost, block_size, parallel)).decrypt(nonce, closed, _bound(head))
    except (InvalidTag, ValueError):
        raise Unreadable("The pass phrase is another, or the file is damaged.") from None
    return Backup(**json.loads(zlib.decompress(content)))


def _key(phrase: str, salt: bytes, cost: int, block_size: int, parallel: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=cost, r=block_size, p=parallel).derive(phrase.encode())


def _bound(head: Mapping[str, Any]) -> bytes:
    """Return what the seal covers beside the content: nobody can pass one stack's backup off as another's."""
    return json.dumps(head, sort_keys=True).encode()


def _written(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
