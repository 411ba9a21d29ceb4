"""What the dashboard knows of a running stack: what machines tell, what follows from it, what has changed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.model.topology import HostView, LinkView, Topology
from scripts.cli.cost import Charge
from scripts.cli.inventory import Inventory

UP, DRAINING, UNFIT, DOWN, UNSEEN, AWAY = "up", "draining", "unfit", "down", "unseen", "away"
WELL = (UP, AWAY)
REMEMBERED_EVENTS = 200
ESTABLISHED, BFD_DOWN = "Established", ("Down", "AdminDown")


@dataclass
class Voice:
    """What one machine says of itself, or why it says nothing."""

    state: Mapping[str, Any] | None = None
    routes: Mapping[str, int] = field(default_factory=dict)  # of a hub: overlay address -> mobility number
    why: str = "not asked yet"
    heard: float = 0.0  # epoch seconds


@dataclass
class Board:
    """All of it. Who changes it tells the time, in seconds since the epoch."""

    stack: str
    topology: Topology
    inventory: Inventory
    charges: tuple[Charge, ...] = ()

    def __post_init__(self) -> None:
        names = [*self.inventory.hubs, *self.inventory.hosts]
        self._voices = {name: Voice() for name in names}
        self._round_trips: dict[tuple[str, str], float] = {}
        self.events: deque[dict[str, Any]] = deque(maxlen=REMEMBERED_EVENTS)
        self._before: dict[str, str] = {}  # hub, host or link -> its state
        self._moves: dict[str, Any] = {}  # host -> the last move that it told of

    # What comes in

    def told(self, name: str, state: Mapping[str, Any], routes: Mapping[str, int], now: float) -> None:
        """Take what a machine's agent says, and of a hub its hosts' routes: address -> mobility number."""
        self._voices[name] = Voice(state, routes, "", now)
        self._watch_moves(name, state, now)

    def silent(self, name: str, why: str) -> None:
        """Take down that a machine does not answer."""
        self._voices[name] = Voice(None, {}, why, self._voices[name].heard)

    def measured(self, hub: str, round_trips_ms: Mapping[str, float | None]) -> None:
        """Take a hub's round trips to other hubs, by its links."""
        for other, milliseconds in round_trips_ms.items():
            if milliseconds is None:
                self._round_trips.pop((hub, other), None)
            else:
                self._round_trips[hub, other] = milliseconds

    # What follows

    def hub_state(self, hub: str) -> tuple[str, str]:
        """Return (state, why)."""
        voice = self._voices.get(hub)
        if voice is None:
            return DOWN, "not made yet"
        if voice.state is None:
            seen = [end for link in self._links_of(hub) if (end := self._end(link, self._other(link, hub))) is not None]
            gone = bool(seen) and not any(seen)
            return (DOWN, f"{voice.why}; no hub has its link to it") if gone else (UNSEEN, voice.why)
        if voice.state.get("fit"):
            return UP, ""
        why = ", ".join(voice.state.get("reasons", ())) or "its agent says nothing"
        return (DRAINING if voice.state.get("draining") else UNFIT), why

    def host_state(self, host: HostView) -> tuple[str, str]:
        """Return (state, why)."""
        carriers, looking = self._carriers(str(host.address.ipv4)), self._a_hub_talks()
        if host.unmanaged:
            return (UP, "") if carriers else (AWAY, "")
        voice = self._voices.get(host.name)
        if voice is None:
            return DOWN, "refused by every hub" if host.name in self.inventory.refused else "not made yet"
        if voice.state is None:
            if carriers:
                return UNSEEN, f"{carriers[0]} carries it, but {voice.why}"
            return (DOWN, f"{voice.why}; no hub has a way to it") if looking else (UNSEEN, voice.why)
        active = self._active(voice.state)
        if not active or not active.get("alive"):
            return DOWN, "no tunnel carries its traffic"
        return (UP, "") if active.get("fit") else (UNFIT, f"hub {active['hub']} is not fit")

    def link_state(self, link: LinkView) -> str:
        ends = [end for hub in (link.listener.key, link.dialer.key) if (end := self._end(link, hub)) is not None]
        return UNSEEN if not ends else UP if all(ends) else DOWN

    def view(self, now: float) -> dict[str, Any]:
        """Return all that the page shows; what has changed since the last time becomes an event."""
        self._compare(now)
        hubs = [self._hub_view(hub) for hub in self.topology.hubs]
        hosts = [self._host_view(host) for host in self.topology.hosts]
        return {
            "stack": self.stack,
            "at": now,
            "well": all(member["state"] in WELL for member in (*hubs, *hosts)),
            "sites": [{"name": s.name, "cloud": s.cloud, "region": s.region} for s in self.topology.sites],
            "hubs": hubs,
            "hosts": hosts,
            "links": [self._link_view(link) for link in self.topology.links],
            "matrix": self._matrix(),
            "events": list(self.events),
            "policy": self._policy(),
            "cost": self._cost(),
        }

    # Parts of the view

    def _hub_view(self, hub: Any) -> dict[str, Any]:
        state, why = self.hub_state(hub.key)
        told = self._said(hub.key)
        return {
            "name": hub.key,
            "site": hub.site,
            "ipv4": str(hub.address.ipv4),
            "ipv6": str(hub.address.ipv6),
            "state": state,
            "why": why,
            "hosts": told.get("preferred"),
            "tunnels": told.get("carried"),
            "sessions": told.get("sessions"),
            "peers": told.get("peers"),
            "drops": sum(told.get("counted", {}).get("drop", {}).values()),
            "heard": self._heard(hub.key),
        }

    def _host_view(self, host: HostView) -> dict[str, Any]:
        state, why = self.host_state(host)
        told = self._said(host.name)
        paths = [path for path in told.get("paths", {}).values() if path["hub"]]
        active = self._active(told)
        carriers = self._carriers(str(host.address.ipv4))
        return {
            "name": host.name,
            "site": host.site,
            "role": host.role,
            "private": host.private,
            "ipv4": str(host.address.ipv4),
            "ipv6": str(host.address.ipv6),
            "state": state,
            "why": why,
            "hub": active["hub"] if active else next(iter(carriers), None),
            "spares": [p["hub"] for p in paths if p is not active and p["alive"]] if paths else carriers[1:],
            "rtt_ms": active["rtt_ms"] if active else None,
            "loss": active["loss"] if active else None,
            "since": told.get("since"),
            "last_move": told.get("last_move"),
            "drops": sum(told.get("counted", {}).get("drop", {}).values()),
            "heard": self._heard(host.name),
        }

    def _link_view(self, link: LinkView) -> dict[str, Any]:
        ends = (link.listener.key, link.dialer.key)
        measured = [ms for pair in (ends, ends[::-1]) if (ms := self._round_trips.get(pair)) is not None]
        return {"ends": ends, "state": self.link_state(link), "rtt_ms": min(measured, default=None)}

    def _matrix(self) -> dict[str, Any]:
        """Round trips in milliseconds, of each member to each hub, None where nobody measured."""
        columns = [hub.key for hub in self.topology.hubs]
        rows = []
        for hub in columns:
            ms = [self._round_trips.get((hub, other), self._round_trips.get((other, hub))) for other in columns]
            rows.append({"name": hub, "rtt_ms": ms})
        for host in self.topology.hosts:
            told = self._said(host.name)
            seen = {hub: found["rtt_ms"] for hub, found in told.get("hubs", {}).items()}
            seen |= {p["hub"]: p["rtt_ms"] for p in told.get("paths", {}).values() if p["hub"] and p["rtt_ms"]}
            rows.append({"name": host.name, "rtt_ms": [seen.get(hub) for hub in columns]})
        return {"columns": columns, "rows": rows}

    def _policy(self) -> dict[str, Any]:
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
            {"machine": name, "reason": reason, "packets": packets}
            for name in self._voices
            for reason, packets in sorted(self._said(name).get("counted", {}).get("drop", {}).items())
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

    # Looking things up

    def _said(self, name: str) -> Mapping[str, Any]:
        voice = self._voices.get(name)
        return (voice.state if voice else None) or {}

    def _heard(self, name: str) -> float | None:
        voice = self._voices.get(name)
        return voice.heard or None if voice else None

    @staticmethod
    def _active(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return state.get("paths", {}).get(str(state.get("active")))

    def _a_hub_talks(self) -> bool:
        return any(self._voices[hub].state is not None for hub in self.inventory.hubs)

    def _carriers(self, address: str) -> list[str]:
        """Return the hubs that have a host's tunnels, that which has its traffic first: the highest number."""
        found = [(self._voices[hub].routes[address], hub) for hub in self.inventory.hubs if self._has(hub, address)]
        return [hub for _, hub in sorted(found, reverse=True)]

    def _has(self, hub: str, address: str) -> bool:
        return address in self._voices[hub].routes

    def _links_of(self, hub: str) -> list[LinkView]:
        return [link for link in self.topology.links if hub in (link.listener.key, link.dialer.key)]

    @staticmethod
    def _other(link: LinkView, hub: str) -> str:
        return link.dialer.key if link.listener.key == hub else link.listener.key

    def _end(self, link: LinkView, hub: str) -> bool | None:
        """Tell whether a hub has a link; None if it does not say."""
        peer = link.dialer if link.listener.key == hub else link.listener
        for one in self._said(hub).get("links", ()):
            if one["id"] == peer.id:
                return one["bgp"] == ESTABLISHED and one["bfd"] not in BFD_DOWN
        return None

    # What has changed

    def _watch_moves(self, name: str, state: Mapping[str, Any], now: float) -> None:
        move = state.get("last_move")
        known = self._moves.get(name)
        self._moves[name] = move
        if not move or name not in self.inventory.hosts:
            return
        told = next((e for e in self.events if e["who"] == name and e.get("moved_at") == move["at"]), None)
        outage = f", {move['outage_ms']} ms without" if move.get("outage_ms") is not None else ""
        text = f"{move['from'] or 'nowhere'} to {move['to']}: {move['reason']}{outage}"
        if told is not None:
            told["what"] = text  # the outage is known a moment later
        elif name in self._before and (known or {}).get("at") != move["at"]:
            self.events.appendleft({"at": now, "who": name, "kind": "move", "what": text, "moved_at": move["at"]})

    def _compare(self, now: float) -> None:
        states = {hub.key: self.hub_state(hub.key) for hub in self.topology.hubs}
        states |= {host.name: self.host_state(host) for host in self.topology.hosts}
        for link in self.topology.links:
            states[f"{link.listener.key} - {link.dialer.key}"] = (self.link_state(link), "")
        for who, (state, why) in states.items():
            before = self._before.get(who)
            self._before[who] = state
            # The first look at something is no news.
            if before not in (None, state) and not (before == UNSEEN and state == UP and not self._was_bad(who)):
                text = f"{before} → {state}{f': {why}' if why else ''}"
                self.events.appendleft({"at": now, "who": who, "kind": state, "what": text})

    def _was_bad(self, who: str) -> bool:
        return any(event["who"] == who for event in self.events)
