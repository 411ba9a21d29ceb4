"""Which hub each of a host's two tunnels goes to, and which tunnel carries the traffic. Pure: no clock, no network.

Both tunnels are probed all the time. The one in use is left when it has been silent for as long as its own loss makes
unlikely, when its hub says that it is not fit, or for a better one that has been well for a while. The other one, the
spare, may move to another hub at any time: nothing is broken before its successor stands.
"""

import hashlib
import math
from dataclasses import dataclass

from tunnels import PROBE_SECONDS, Detour, Hub, Path, Seen, much_worse

HOLD_SECONDS = 30  # between two moves for loss alone
SETTLED_SECONDS = 10  # a better path has to be well for so long
MOST_SETTLED_SECONDS = 300  # ... and longer each time that it has failed
CONNECT_SECONDS = 4  # a tunnel that has brought no answer for so long goes to another hub, a spare up to twice as long
LINGER_SECONDS = 2  # a tunnel that traffic has left stays so long for what is under way
PATIENCE_SECONDS = 10  # a spare stays so long with a hub that is not fit: it may be so for a moment only
RETRY_SECONDS, MOST_RETRY_SECONDS = 15, 240  # until a hub that failed is tried again
REBALANCE_SECONDS = 20  # between two moves of the spare to a better hub
UDP_RETRY_SECONDS = 60  # where UDP seems blocked
HOME_SECONDS, MOST_HOME_SECONDS = 30, 1800  # at another process of a hub, until its own is tried again
NEARER = 0.7  # another site's hub must be that much nearer for a tunnel to move to it


@dataclass(frozen=True)
class Open:
    """Take a tunnel to a hub."""

    path: int
    hub: Hub
    transport: str
    turn: int = 0  # see Hub.door


@dataclass(frozen=True)
class Use:
    """Send by a tunnel, and claim what comes back."""

    path: int
    reason: str


class Choice:
    """Decides; whoever calls `step` does what it returns."""

    def __init__(self, host: str, site: str, seat: int = 0) -> None:
        self.host, self.site, self.seat = host, site, seat
        self.paths = {1: Path(1), 2: Path(2)}
        self.active: int | None = None
        self.switches = 0
        self.hubs: dict[int, Hub] = {}
        self.survey: dict[int, Seen] = {}
        self.switched = -math.inf
        self._left_for_loss = -math.inf
        self._avoided: dict[tuple[int, str], tuple[float, float]] = {}  # (hub, transport) -> (until, length)
        self._failures: dict[tuple[int, str], tuple[float, int]] = {}  # -> (last, how many)
        self._detours: dict[int, Detour] = {}  # by hub
        self._udp_failures = 0
        self._udp_tried = -math.inf
        self._rebalanced = -math.inf
        self._stepped = math.inf

    # What it is told

    def know(self, hubs: list[Hub]) -> None:
        """Take the list of hubs. A path whose hub has another address now is opened anew by `step`."""
        self.hubs = {hub.id: hub for hub in hubs}
        for path in self.paths.values():
            if path.hub is not None and path.hub.id in self.hubs:
                known = self.hubs[path.hub.id]
                way = (path.transport, self.seat, path.turn)
                path.stale |= known.door(*way) != path.hub.door(*way)
                path.hub = known

    def heard(self, now: float, path: int, number: int, rtt_seconds: float | None, fit: bool) -> None:
        """Take the answer to a path's probe, as `Path.heard` does."""
        tunnel = self.paths[path]
        tunnel.heard(now, number, rtt_seconds, fit)
        if tunnel.transport == "udp":
            self._udp_failures = 0
            if tunnel.hub and tunnel.turn == 0:
                self._detours.pop(tunnel.hub.id, None)
        if tunnel.hub and fit:
            self._avoided.pop((tunnel.hub.id, tunnel.transport), None)

    def renew(self) -> None:
        """Both tunnels' options have changed: take them anew, one after the other."""
        for path in self.paths.values():
            path.stale = path.hub is not None

    # What it decides

    def step(self, now: float) -> list[Open | Use]:
        """Return what to do now, in order."""
        late, self._stepped = now - self._stepped - PROBE_SECONDS, now
        for path in self.paths.values():
            path.excuse(late)
            if path.dead(now) or not path.fit or path.loss > 0.02:
                path.troubled = now
            path.stale |= self._goes_home(now, path)
        return [*self._switch(now), *self._place(now)]

    def _switch(self, now: float) -> list[Use]:
        current = self.paths.get(self.active)
        others = [path for path in self.paths.values() if path is not current and path.works(now)]
        for other in others:
            if reason := self._reason(now, current, other):
                if current is not None and current.hub and reason in ("silent", "lossy"):
                    key = (current.hub.id, current.transport)
                    last, count = self._failures.get(key, (-math.inf, 0))
                    self._failures[key] = (now, count + 1 if now - last < MOST_SETTLED_SECONDS else 1)
                if reason == "lossy":
                    self._left_for_loss = now
                self.switches += self.active is not None
                self.active, self.switched = other.number, now
                return [Use(other.number, reason)]
        return []

    def _reason(self, now: float, current: Path | None, other: Path) -> str:
        """Return why traffic should leave `current` for `other`, which works; "" if it should not."""
        if current is None or current.hub is None:
            return "first"
        if current.dead(now):
            return "silent"
        if current.hub.id not in self.hubs:
            return "removed"
        if not other.fit:
            return ""
        if not current.fit:
            return "not fit"
        if much_worse(current, other) and now - self._left_for_loss > HOLD_SECONDS:
            return "lossy"
        if current.stale and not other.stale and now - other.opened > 1:
            return "renewed"
        well = now - max(other.troubled, self.switched)
        if self._rank(other) < self._rank(current) and well > self._settled(now, other):
            return "better"
        return ""

    def _settled(self, now: float, path: Path) -> float:
        last, count = self._failures.get((path.hub.id, path.transport), (-math.inf, 0))
        if now - last > 2 * MOST_SETTLED_SECONDS:
            return SETTLED_SECONDS
        return min(MOST_SETTLED_SECONDS, SETTLED_SECONDS * 2**count)

    def _place(self, now: float) -> list[Open]:
        """Give each path that needs one another hub; one at a time once traffic flows."""
        for path in self.paths.values():
            if path.stale and path.dead(now):
                return [self._open(now, path, path.hub, path.transport)]
            gone = path.hub is None or path.hub.id not in self.hubs
            if gone and path.number == self.active and path.works(now):
                continue
            if gone or path.silence(now) > self._patience(now, path):
                if path.hub is not None and not gone:
                    self._avoid(now, path)
                if target := self._target(now, path):
                    return [self._open(now, path, *target)]
        current = self.paths.get(self.active)
        if current is None or not current.works(now) or now - self.switched < LINGER_SECONDS:
            return []
        spare = self.paths[3 - current.number]
        if spare.stale:
            return [self._open(now, spare, spare.hub, spare.transport)]
        if now - spare.unfit_since > PATIENCE_SECONDS and (target := self._target(now, spare, spare.hub)):
            self._avoid(now, spare)
            return [self._open(now, spare, *target)]
        return self._rebalance(now, current, spare)

    def _rebalance(self, now: float, current: Path, spare: Path) -> list[Open]:
        """Take the spare to a better hub, where there is one and traffic has been calm."""
        calm = now - max(self.switched, current.troubled) > SETTLED_SECONDS
        if not calm or now - self._rebalanced < REBALANCE_SECONDS:
            return []
        if self._udp_blocked() and now - self._udp_tried > UDP_RETRY_SECONDS and self.hubs:
            best = next(hub for hub in self._order() if hub != current.hub or len(self.hubs) == 1)
            if best != current.hub:
                self._udp_tried = self._rebalanced = now
                return [self._open(now, spare, best, "udp")]
        target = self._target(now, spare)
        if target is None or target == (spare.hub, spare.transport) or spare.hub is None:
            return []
        # The better of the two ranks is kept: a spare that should have the traffic only waits to settle.
        if self._better(target, spare) and not self._rank(spare) < self._rank(current):
            self._rebalanced = now
            return [self._open(now, spare, *target)]
        return []

    def _better(self, target: tuple[Hub, str], path: Path) -> bool:
        hub, transport = target
        if (path.transport == "tcp") != (transport == "tcp"):
            return transport == "udp"
        if (hub.site == self.site) != (path.hub.site == self.site):
            return hub.site == self.site
        if hub.site == self.site:
            return _weight(self.host, hub) < _weight(self.host, path.hub)
        return self._distance(hub) < NEARER * self._distance(path.hub)

    # Order of hubs

    def _rank(self, path: Path) -> tuple:
        return (path.transport == "tcp", path.hub.site != self.site, self._place_of(path.hub))

    def _place_of(self, hub: Hub) -> tuple:
        return (0.0 if hub.site == self.site else self._distance(hub), _weight(self.host, hub))

    def _order(self) -> list[Hub]:
        """Return all hubs, the best first: the own site's, then the nearest; those seen dead or unfit last.

        Hosts of one site spread over its hubs by rendezvous hashing (Thaler and Ravishankar 1998): an order of its own
        for each host, of which a new hub changes little.
        """
        answering = any(seen.rtt_seconds is not None for seen in self.survey.values())

        def key(hub: Hub) -> tuple:
            seen = self.survey.get(hub.id, Seen(None))
            known_bad = answering and hub.id in self.survey and (seen.rtt_seconds is None or not seen.fit)
            return (known_bad, hub.site != self.site, self._place_of(hub))

        return sorted(self.hubs.values(), key=key)

    def _distance(self, hub: Hub) -> float:
        """Return a round trip in steps of 10 ms, so that hubs of one place are as near; far if it is not known."""
        seen = self.survey.get(hub.id)
        return 10.0 if seen is None or seen.rtt_seconds is None else 0.01 + math.floor(seen.rtt_seconds * 100) / 100

    def _target(self, now: float, path: Path, besides: Hub | None = None) -> tuple[Hub, str] | None:
        """Return the best (hub, transport) for a path that the other path has not; None if there is no other hub.

        Args:
            besides: A hub that will not do.
        """
        other = self.paths[3 - path.number]
        transports = ("tcp", "udp") if self._udp_blocked() else ("udp", "tcp")
        hubs = [hub for hub in self._order() if hub != besides and (other.hub is None or hub.id != other.hub.id)]
        choices = [(hub, transport) for transport in transports for hub in hubs]
        if not self._udp_blocked():
            choices = [choice for choice in choices if choice[1] == "udp"]

        def avoided_until(choice: tuple[Hub, str]) -> float:
            return self._avoided.get((choice[0].id, choice[1]), (-math.inf, 0.0))[0]

        free = [choice for choice in choices if now >= avoided_until(choice)]
        # If all have failed lately, the one whose time is over first.
        return free[0] if free else min(choices, key=avoided_until, default=None)

    def _udp_blocked(self) -> bool:
        return self._udp_failures >= 2

    def _avoid(self, now: float, path: Path) -> None:
        key = (path.hub.id, path.transport)
        _, length = self._avoided.get(key, (0.0, 0.0))
        length = min(MOST_RETRY_SECONDS, max(RETRY_SECONDS, 2 * length))
        self._avoided[key] = (now + length * (1 + 0.5 * self._spread(path.hub)), length)
        if path.transport == "udp" and path.unfit_since == math.inf:
            # It may be one process that is dead, not the hub.
            self._detours[path.hub.id] = self._detour(now, path)
            self._udp_failures += 1
            self._udp_tried = now

    def _detour(self, now: float, path: Path) -> Detour:
        """Return how its hub is to be reached after a path has failed."""
        last = self._detours.get(path.hub.id, Detour(now, 0, 0))
        if path.turn:
            return Detour(last.since, last.seconds, path.turn + 1)
        return Detour(now, min(MOST_HOME_SECONDS, max(HOME_SECONDS, 2 * last.seconds)), 1)

    def _goes_home(self, now: float, path: Path) -> bool:
        """Tell whether a path that works should be taken to its hub's own process for this host again."""
        if path.turn == 0 or not path.works(now) or self._turn(now, path.hub) != 0:
            return False
        return path.hub.door("udp", self.seat, path.turn) != path.hub.door("udp", self.seat)

    def _turn(self, now: float, hub: Hub) -> int:
        detour = self._detours.get(hub.id)
        return detour.turn if detour and now - detour.since < detour.seconds else 0

    def _patience(self, now: float, path: Path) -> float:
        """Return for how long a path may be silent. Not all hosts of a dead hub should come to another at once."""
        spare = self.active not in (None, path.number) and self.paths[self.active].works(now)
        return CONNECT_SECONDS * (1 + self._spread(path.hub) * spare)

    def _spread(self, hub: Hub) -> float:
        """Return a number from 0 to 1 of this host's own."""
        return int.from_bytes(_weight(self.host, hub)[:2], "big") / 65536

    def _open(self, now: float, path: Path, hub: Hub, transport: str) -> Open:
        turn = self._turn(now, hub) if transport == "udp" else 0
        path.open(now, hub, transport, turn)
        return Open(path.number, hub, transport, turn)


def _weight(host: str, hub: Hub) -> bytes:
    return hashlib.sha256(f"{host}|{hub.key}".encode()).digest()
