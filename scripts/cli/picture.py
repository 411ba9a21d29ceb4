"""A stack as a picture: sites, hubs, hosts, links and tunnels, as the stack file has them and as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.model.topology import HostView, HubView, SiteView, Topology
from scripts.cli.snapshot import AWAY, CUT_OFF, DOWN, DRAINED, HIDDEN, LINK, UNFIT, UP, Snapshot

# Upper ends in milliseconds of what is near, and of what is far; beyond that it is very far.
NEAR_MS, FAR_MS = 30.0, 120.0
PLANNED, UNSEEN = "planned", "unseen"  # beside UP, DOWN and UNFIT


@dataclass(frozen=True)
class Tunnel:
    """A host's tunnel to a hub."""

    hub: str
    carries: bool  # the host's traffic goes by it
    alive: bool
    rtt_ms: float | None = None
    loss: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What was found out about a running stack; all maps by member, "site/hub" for a hub."""

    members: Mapping[str, str] = field(default_factory=dict)  # UP, DOWN or UNFIT; no entry: it is not up yet
    why: Mapping[str, str] = field(default_factory=dict)  # what is the matter with those that are not UP
    tunnels: Mapping[str, tuple[Tunnel, ...]] = field(default_factory=dict)
    # (hub, hub) -> milliseconds, None where the link is down; no entry: neither end could be asked
    links: Mapping[tuple[str, str], float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A machine."""

    name: str
    kind: str  # "hub", "host", "private" or "unmanaged"
    address: str
    role: str = ""
    state: str = PLANNED
    why: str = ""


@dataclass(frozen=True)
class Edge:
    """A link between hubs, or a host's tunnel."""

    source: str
    target: str
    kind: str  # "link", "tunnel" (carries the host's traffic, or would) or "spare"
    state: str = PLANNED
    rtt_ms: float | None = None

    @property
    def distance(self) -> str:
        """Return "near", "far" or "very far"; "" where nobody measured."""
        if self.rtt_ms is None:
            return ""
        return "near" if self.rtt_ms < NEAR_MS else "far" if self.rtt_ms < FAR_MS else "very far"


@dataclass(frozen=True)
class SiteBox:
    """A site and what stands in it."""

    name: str
    cloud: str
    region: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Picture:
    """All of it, in an order that does not change by itself."""

    title: str
    sites: tuple[SiteBox, ...]
    edges: tuple[Edge, ...]
    live: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def seen(snapshot: Snapshot) -> Seen:
    """Return what a picture shows of a snapshot."""
    states = {DRAINED: UNFIT, HIDDEN: UNFIT, CUT_OFF: DOWN}
    # A laptop that is away is nothing to worry about.
    there = [member for member in (*snapshot.hubs, *snapshot.hosts) if member.state != AWAY]
    tunnels = {}
    for host in snapshot.hosts:
        paths = [Tunnel(path.hub, path.carries, path.alive, path.rtt_ms, path.loss) for path in host.paths]
        # Of one that does not speak itself, as the hubs have it.
        told = [Tunnel(hub, at == 0, True) for at, hub in enumerate((host.primary, host.spare)) if hub]
        tunnels[host.name] = tuple(paths or told)
    return Seen(
        {member.name: states.get(member.state, member.state) for member in there},
        {member.name: member.why for member in there if member.why},
        tunnels,
        {(trip.source, trip.target): trip.ms for trip in snapshot.round_trips if trip.by == LINK},
    )


def drawn(stack: str, topology: Topology, seen: Seen | None = None, with_hosts: bool = True) -> Picture:
    """Return the picture of a stack file; with what was seen, of the running stack."""
    sites = tuple(
        SiteBox(
            site.name,
            site.cloud,
            site.region,
            (
                *(_hub(hub, seen) for hub in site.hubs),
                *((_host(host, seen) for host in site.hosts) if with_hosts else ()),
            ),
        )
        for site in topology.sites
    )
    links = [_link(link.listener.key, link.dialer.key, seen) for link in topology.links]
    by_name = {site.name: site for site in topology.sites}
    tunnels = [edge for host in topology.hosts for edge in _tunnels(host, by_name, seen)] if with_hosts else []
    return Picture(stack, sites, (*links, *tunnels), seen is not None)


def _hub(hub: HubView, seen: Seen | None) -> Node:
    state = seen.members.get(hub.key, PLANNED) if seen else PLANNED
    return Node(hub.key, "hub", str(hub.address.ipv4), "", state, seen.why.get(hub.key, "") if seen else "")


def _host(host: HostView, seen: Seen | None) -> Node:
    kind = "unmanaged" if host.unmanaged else "private" if host.private else "host"
    state = seen.members.get(host.name, PLANNED) if seen else PLANNED
    why = seen.why.get(host.name, "") if seen else ""
    return Node(host.name, kind, str(host.address.ipv4), host.role, state, why)


def _link(one: str, other: str, seen: Seen | None) -> Edge:
    if seen is None or not {one, other} <= set(seen.members):
        return Edge(one, other, "link")
    ends = [seen.links[pair] for pair in ((one, other), (other, one)) if pair in seen.links]
    if not ends:
        return Edge(one, other, "link", UNSEEN)
    # One direction that fails makes the link fail.
    measured = [rtt for rtt in ends if rtt is not None]
    up = len(measured) == len(ends)
    return Edge(one, other, "link", UP if up else DOWN, min(measured) if up else None)


def _tunnels(host: HostView, sites: Mapping[str, SiteView], seen: Seen | None) -> list[Edge]:
    """Return a host's tunnels: those that it has, else those to the hubs that it takes first."""
    if seen is not None and host.name in seen.members:
        return [
            Edge(host.name, t.hub, "tunnel" if t.carries else "spare", UP if t.alive else DOWN, t.rtt_ms)
            for t in sorted(seen.tunnels.get(host.name, ()), key=lambda tunnel: (not tunnel.carries, tunnel.hub))
        ]
    own = sites[host.hub_site].hubs
    return [Edge(host.name, hub.key, "tunnel" if at == 0 else "spare") for at, hub in enumerate(own[:2])]
