"""What two hosts say to each other about a tunnel between them. Pure: no clock, no network.

Whoever is a member of the overlay may send anything: a message counts only if all of it is as it should be.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address

LONGEST = 512  # bytes
NONCE, SECRET, SITE = (
    re.compile("[0-9a-f]{16}"),
    re.compile("[0-9a-f]{64}"),
    re.compile("[a-z]([a-z0-9-]{0,18}[a-z0-9])?"),
)
WAYS = ("dial", "listen", "none")
HIGHEST = 2**53  # of whole numbers


@dataclass(frozen=True)
class Ask:
    """I send you much: shall we have a tunnel? By hubs."""

    nonce: str  # of this tunnel from now on
    site: str
    private: str  # addresses on the underlay; "" for none
    public: str
    turn: int  # which of the ways that there are: others than the first are tried after failures


@dataclass(frozen=True)
class Answer:
    """What the one that asked is to do. By hubs."""

    nonce: str
    way: str  # "dial" this endpoint; "listen" and tell yours; "none" is possible
    address: str = ""
    port: int = 0
    secret: str = ""  # keeps strangers from speaking to that port; certificates say who is who


@dataclass(frozen=True)
class Offer:
    """Where the one that asked listens. By hubs."""

    nonce: str
    address: str
    port: int
    secret: str


@dataclass(frozen=True)
class Hello:
    """I have this tunnel. By hubs, again and again: whom hubs carry is no stranger and not revoked."""

    nonce: str
    idle: bool  # it has carried little for long


@dataclass(frozen=True)
class Here:
    """The answer to it. By hubs."""

    nonce: str
    have: bool  # whether I have it, too
    idle: bool


@dataclass(frozen=True)
class End:
    """I have ended it. By hubs."""

    nonce: str


@dataclass(frozen=True)
class Probe:
    """By the tunnel."""

    nonce: str
    number: int
    received: (
        int  # packets that have come to me by it: while that grows, mine need not be answered to see that yours come
    )


@dataclass(frozen=True)
class Echo:
    """By the tunnel."""

    nonce: str
    number: int


KINDS = {kind.__name__.lower(): kind for kind in (Ask, Answer, Offer, Hello, Here, End, Probe, Echo)}
Message = Ask | Answer | Offer | Hello | Here | End | Probe | Echo


def write(message: Message) -> bytes:
    return json.dumps({"kind": type(message).__name__.lower(), **asdict(message)}, separators=(",", ":")).encode()


def read(text: bytes, ports: range) -> Message:
    """Return what somebody said.

    Args:
        ports: Those at which hosts await each other: nobody can have another one dialled.

    Raises:
        ValueError: It is no such message.
    """
    if len(text) > LONGEST:
        raise ValueError("too long")
    try:
        told = json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None
    kind = KINDS.get(told.pop("kind", None)) if isinstance(told, dict) and _is_word(told.get("kind")) else None
    if kind is None or told.keys() != {field.name for field in fields(kind)}:
        raise ValueError("no message")
    for field in fields(kind):
        if type(told[field.name]) is not field.type:
            raise ValueError(f"{field.name} is of another type")
    message = kind(**told)
    _check(message, ports)
    return message


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _check(message: Message, ports: range) -> None:
    right = NONCE.fullmatch(message.nonce) is not None
    if isinstance(message, Ask):
        addresses = all(not text or reachable(text) for text in (message.private, message.public))
        right = right and addresses and SITE.fullmatch(message.site) is not None and 0 <= message.turn < HIGHEST
    elif isinstance(message, Answer) and message.way != "dial":
        right = right and message.way in WAYS and (message.address, message.port, message.secret) == ("", 0, "")
    elif isinstance(message, Answer | Offer):
        endpoint = reachable(message.address) and message.port in ports
        right = right and endpoint and SECRET.fullmatch(message.secret) is not None
    elif isinstance(message, Probe | Echo):
        right = right and 0 <= message.number < HIGHEST and 0 <= getattr(message, "received", 0) < HIGHEST
    if not right:
        raise ValueError(f"no {type(message).__name__.lower()}")


def reachable(text: str) -> bool:
    """Tell whether this is an address that a machine may have on an underlay."""
    try:
        address = IPv4Address(text)
    except ValueError:
        return False
    odd = address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local
    return str(address) == text and not odd and int(address) >> 24 not in (0, 255) and int(address) >> 28 != 15
