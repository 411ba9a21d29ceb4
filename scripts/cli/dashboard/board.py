"""What the dashboard's page is told: a snapshot with its history, the policy and the cost beside it. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Any

from components.model.topology import Topology
from scripts.cli.cost import Charge
from scripts.cli.gather import NOT_ASKED
from scripts.cli.snapshot import DOWN, LINK, TUNNEL, UNDERLAY, UP, Host, Hub, Snapshot
from scripts.cli.watching import happenings

REMEMBERED_EVENTS = 200
UNSEEN = "unseen"
# Of two ways to measure the same, the one that traffic takes is told.
BEST_LAST = (UNDERLAY, LINK, TUNNEL)


class Board:
    """Remembers what has happened since it began."""

    def __init__(self, stack: str, topology: Topology, charges: tuple[Charge, ...] = ()) -> None:
        self.stack, self.topology, self.charges = stack, topology, charges
        self.events: deque[dict[str, Any]] = deque(maxlen=REMEMBERED_EVENTS)
        self._before: Snapshot | None = None

    def view(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return all that the page shows; what has changed since the last time becomes an event."""
        if self._before is not None:
            for who, what in happenings(self._before, snapshot):
                self.events.appendleft({"at": snapshot.time, "who": who, "what": what})
        # Nothing has happened to a machine that is heard of for the first time.
        if self._before is not None or all(trouble.why != NOT_ASKED for trouble in snapshot.unseen):
            self._before = snapshot
        return {
            "stack": self.stack,
            "at": snapshot.time,
            "well": snapshot.well,
            "troubles": [asdict(trouble) for trouble in snapshot.troubles],
            "sites": [{"name": s.name, "cloud": s.cloud, "region": s.region} for s in snapshot.sites],
            "hubs": [_hub(hub) for hub in snapshot.hubs],
            "hosts": [_host(host) for host in snapshot.hosts],
            "links": self._links(snapshot),
            "matrix": _matrix(snapshot),
            "events": list(self.events),
            "policy": self._policy(snapshot),
            "certificates": asdict(snapshot.certificates),
            "cost": self._cost(),
        }

    def _links(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        ends = {(hub.name, link.peer): link.up for hub in snapshot.hubs for link in hub.links}
        times = {(trip.source, trip.target): trip.ms for trip in snapshot.round_trips if trip.by == LINK}
        names = {hub.name for hub in snapshot.hubs}
        found = []
        for link in self.topology.links:
            pair = (link.listener.key, link.dialer.key)
            if not names.issuperset(pair):
                continue  # in the stack file only
            told = [ends[way] for way in (pair, pair[::-1]) if way in ends]
            measured = [ms for way in (pair, pair[::-1]) if (ms := times.get(way)) is not None]
            state = UNSEEN if not told else UP if all(told) else DOWN
            found.append({"ends": pair, "state": state, "rtt_ms": min(measured, default=None)})
        return found

    def _policy(self, snapshot: Snapshot) -> dict[str, Any]:
        policy = self.topology.policy
        services = [
            {
                "name": service.name,
                "on": service.on.name,
                "ports": [f"{ports}/{ports.protocol}" for ports in service.ports],
                "from": [source.name for source in service.sources],
            }
            for service in policy.services
        ]
        drops = [
            {"machine": member.name, "reason": reason, "packets": packets}
            for member in (*snapshot.hubs, *snapshot.hosts)
            if member.counters
            for reason, packets in sorted(member.counters.drop.items())
            if packets
        ]
        return {"enforced": policy.enforced, "services": services, "drops": drops}

    def _cost(self) -> dict[str, Any]:
        sites: dict[str, float] = {}
        for charge in self.charges:
            sites[charge.site] = sites.get(charge.site, 0.0) + charge.monthly_usd
        unknown = sorted({charge.what for charge in self.charges if charge.each_usd is None})
        monthly = [{"site": site, "monthly_usd": round(usd, 2)} for site, usd in sorted(sites.items())]
        return {"sites": monthly, "monthly_usd": round(sum(sites.values()), 2), "unknown": unknown}


def _hub(hub: Hub) -> dict[str, Any]:
    return {
        **_member(hub),
        "hosts": hub.preferred,
        "tunnels": hub.carried,
        "links_up": sum(link.up for link in hub.links),
        "links": len(hub.links),
    }


def _host(host: Host) -> dict[str, Any]:
    path = next((path for path in host.paths if path.carries), None)
    return {
        **_member(host),
        "role": host.role,
        "private": host.private,
        "hub": host.primary,
        "spare": host.spare,
        "rtt_ms": path.rtt_ms if path else None,
        "loss": path.loss if path else None,
        "since": host.since,
        "last_move": asdict(host.last_move) if host.last_move else None,
    }


def _member(member: Hub | Host) -> dict[str, Any]:
    return {
        **{key: getattr(member, key) for key in ("name", "site", "ipv4", "ipv6", "state", "why")},
        "drops": sum(member.counters.drop.values()) if member.counters else 0,
        "certificate_ends": member.certificate_ends,
    }


def _matrix(snapshot: Snapshot) -> dict[str, Any]:
    """Round trips in milliseconds, of each member to each hub; None where nobody measured or nothing came back."""
    times: dict[tuple[str, str], float | None] = {}
    for by in BEST_LAST:
        times |= {(trip.source, trip.target): trip.ms for trip in snapshot.round_trips if trip.by == by}
    columns = [hub.name for hub in snapshot.hubs]
    rows = [{"name": name, "rtt_ms": [times.get((name, hub)) for hub in columns]} for name in snapshot.names]
    return {"columns": columns, "rows": rows}
