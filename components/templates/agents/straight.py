"""A tunnel between two hosts, and what is to be done about one. Pure."""

import math
from dataclasses import dataclass, field

from signals import HIGHEST, Message
from tunnels import Path

IDLE_SECONDS = 180
SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Say:
    peer: int  # IPv4 address in the overlay
    message: Message
    slot: int = 0  # by this tunnel; 0: by hubs


@dataclass(frozen=True)
class Start:
    slot: int
    peer: int
    listen: bool
    address: str  # to dial; "" where it listens
    port: int
    secret: str


@dataclass(frozen=True)
class Stop:
    slot: int
    peer: int
    reason: str


@dataclass(frozen=True)
class Use:
    slot: int
    peer: int


@dataclass(frozen=True)
class Leave:
    slot: int
    peer: int
    reason: str


Action = Say | Start | Stop | Use | Leave


@dataclass
class Tunnel:
    """One that begins, works, or is in doubt; times are monotonic seconds."""

    slot: int
    peer: int
    nonce: str
    listens: bool
    offers: bool  # asked for it and listens: the other end has to hear where
    address: str
    port: int
    secret: str
    began: float
    vouched: float  # when there was word of the other end by hubs
    settle: float = SETTLE_SECONDS
    in_use: bool = False
    heard: float = -math.inf  # the last answer by it
    well_since: float = math.inf
    changed: float = -math.inf  # when it came into use, or went out of it
    next_probe: float = -math.inf
    next_hello: float = -math.inf
    probes: dict[int, float] = field(default_factory=dict)  # number -> when it was sent
    sent: int = 0
    received: int = 0  # packets by its device
    peer_received: int = HIGHEST  # likewise at the other end, as it last told
    busy: float = 0.0  # when it last carried more than little
    peer_idle: bool = False
    towards: str = ""  # the peer's address on the underlay, where that is known
    mtu_bytes: int = 0  # how large packets in it may be; 0: as everywhere
    measured: float = -math.inf  # when it was asked for
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = Path(self.slot)

    def begin_again(self, now: float) -> None:
        """What settles has to be without a break."""
        self.path.open(now, None, "udp")
        self.well_since = math.inf

    def idle(self, now: float) -> bool:
        return now - self.busy > IDLE_SECONDS
