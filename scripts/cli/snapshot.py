"""What a stack looks like at one moment: the one form in which `status`, `topology` and the dashboard have it.

Members are called by their names, a hub's is "site/hub". Times are ISO 8601 in UTC. What could not be asked is None,
and `unseen` says why. docs/status.schema.json is made of this file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

# What a member is. Of a hub only: drained, unfit. Of a host only: cut off, away (a laptop that is off). Out of sight:
# other members have it, but SSH does not reach it.
UP, DRAINED, UNFIT, CUT_OFF, HIDDEN, AWAY, DOWN = "up", "drained", "unfit", "cut off", "out of sight", "away", "down"
ESTABLISHED = "Established"
# How a round trip was measured.
TUNNEL, UNDERLAY, LINK, OVERLAY4, OVERLAY6 = "tunnel", "underlay", "link", "ipv4", "ipv6"


@dataclass(frozen=True)
class Versions:
    """Of programs that carry the network; bird "" on a host."""

    openvpn: str
    bird: str
    kernel: str


@dataclass(frozen=True)
class Offload:
    """What there is for the kernel to move OpenVPN's packets (DCO), as the hub found at its start."""

    kernel: str  # "ovpn-dco", which OpenVPN 2.6 can use, "ovpn", which 2.7 can, or ""
    openvpn: bool  # was built to ask the kernel


@dataclass(frozen=True)
class Counters:
    """Packets that counting rules of a packet filter met since it was loaded: rule -> how many."""

    drop: dict[str, int] = field(default_factory=dict)
    accept: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """One end of a link, as its hub's BIRD sees it."""

    peer: str
    bgp: str  # BIRD's word: Established, Active, Connect, ...
    bfd: str | None  # Up, Down, Init; None where there is no session
    since: str | None  # when BGP became so

    @property
    def up(self) -> bool:
        return self.bgp == ESTABLISHED


@dataclass(frozen=True)
class Hub:
    """A hub."""

    name: str
    site: str
    ipv4: str
    ipv6: str
    state: str
    why: str = ""  # if it is not up
    draining: bool | None = None
    preferred: int | None = None  # hosts whose traffic goes by it
    carried: int | None = None  # hosts that have a tunnel to it
    transports: dict[str, int] = field(default_factory=dict)  # OpenVPN sessions: "udp", "tcp" -> how many
    doors: dict[str, int] = field(default_factory=dict)  # of each process: "udp", "udp2", ..., "tcp" -> how many
    shut: list[str] = field(default_factory=list)  # processes that do not run: hosts cannot come in by them
    links: list[Link] = field(default_factory=list)
    dco: bool | None = None  # whether the kernel moves OpenVPN's packets
    offload: Offload | None = None  # whether it could
    versions: Versions | None = None
    counters: Counters | None = None
    certificate_ends: str | None = None
    revocation_list_ends: str | None = None


@dataclass(frozen=True)
class Path:
    """One of a host's two tunnels, as its agent measures it."""

    hub: str
    transport: str  # "udp" or "tcp"
    carries: bool  # the host's traffic goes by it
    alive: bool
    fit: bool  # as the hub says of itself
    rtt_ms: float | None
    loss: float  # share of the probes of the last 10 s
    endpoint: str | None = None  # the hub's address that it goes to: from outside, or in the site's own network
    mtu_bytes: int | None = None  # how large packets in it may be


@dataclass(frozen=True)
class Move:
    """The last time that a host's traffic went from one tunnel to the other."""

    at: str
    source: str | None  # a hub
    target: str | None
    reason: str  # silent, lossy, not fit, renewed, removed, better
    outage_ms: int | None  # from the old tunnel's last answer to the new hub's word; None where both were up


@dataclass(frozen=True)
class ServerMove:
    """The last time that a host's new connections to a service went to another server."""

    at: str
    source: str | None  # a host; None: there was none that was well
    target: str | None
    reason: str  # first, silent, failing, nearer, back


@dataclass(frozen=True)
class Nearest:
    """A service that a host reaches at a shared address, and the server that answers there."""

    service: str
    shared: list[str]  # addresses
    server: str | None  # a host; None: there is none that is well, and clients are refused
    rtt_ms: float | None
    since: str | None
    healthy: list[str]  # hosts that could be chosen, as far as is known
    last_move: ServerMove | None = None
    moves: dict[str, int] = field(default_factory=dict)  # reason -> how often


@dataclass(frozen=True)
class Direct:
    """A tunnel from one host to another, with no hub between."""

    peer: str  # a host
    in_use: bool  # whether it carries what this host sends to the peer; else that goes by hubs
    rtt_ms: float | None
    loss: float


@dataclass(frozen=True)
class Host:
    """A host."""

    name: str
    site: str
    role: str
    ipv4: str
    ipv6: str
    state: str
    why: str = ""  # if it is not up
    private: bool = False
    unmanaged: bool = False  # a laptop: only hubs tell of it
    primary: str | None = None  # the hub by which its traffic goes
    spare: str | None = None  # the one that stands by
    since: str | None = None  # when its traffic took that way
    last_move: Move | None = None
    moves: dict[str, int] = field(default_factory=dict)  # reason -> how often
    paths: list[Path] = field(default_factory=list)
    nearest: list[Nearest] = field(default_factory=list)  # services at their nearest servers
    direct: list[Direct] = field(default_factory=list)
    rival: bool | None = None  # another machine has its identity
    dco: bool | None = None
    versions: Versions | None = None
    counters: Counters | None = None
    certificate_ends: str | None = None


@dataclass(frozen=True)
class RoundTrip:
    """How long a packet takes from one member to another and back."""

    source: str
    target: str
    by: str  # "tunnel" (smoothed), "underlay" (to the hub's public side), "link", "ipv4" or "ipv6" (host to host)
    ms: float | None  # None: no answer


@dataclass(frozen=True)
class Site:
    """A site, and who is in it."""

    name: str
    cloud: str
    region: str
    hubs: list[str]
    hosts: list[str]


@dataclass(frozen=True)
class Certificates:
    """When what ends, as the stack's state has it. Each member's own is with the member."""

    authority: str | None
    revocation_list: str | None
    earliest: str | None
    earliest_of: str
    revoked: int
    refused: list[str]  # hosts that no hub lets in


@dataclass(frozen=True)
class Trouble:
    """Something that is not well."""

    member: str
    why: str


@dataclass(frozen=True)
class Snapshot:
    """All of it."""

    stack: str
    time: str
    well: bool  # there is no trouble; a hub that is drained is none
    troubles: list[Trouble]
    sites: list[Site]
    hubs: list[Hub]
    hosts: list[Host]
    round_trips: list[RoundTrip]
    certificates: Certificates
    unseen: list[Trouble]  # what could not be asked, and why

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def names(self) -> list[str]:
        return [member.name for member in (*self.hubs, *self.hosts)]


def main() -> None:
    """Print the form that programs are given, as JSON Schema."""
    print(json.dumps(TypeAdapter(Snapshot).json_schema(), indent=1))


if __name__ == "__main__":
    main()
