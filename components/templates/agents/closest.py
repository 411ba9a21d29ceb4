"""Which server of a service this host uses: the nearest that lives and is well. Pure: no clock, no network.

The one in use is left at once when it is silent or its checks fail; for a nearer one only if that has been noticeably
nearer, and well, for a while. Silence counts while this host hears its own hub, and not while it hears nobody.
"""

import math
from dataclasses import dataclass

from servers import CHECKS_THAT_COUNT, FEWEST_MISSES, Server

PING_SECONDS = 0.2  # of the server in use and of the hub
STANDBY_PING_SECONDS = 1.0
STANDBYS = 2  # the nearest that are well; as many more that are not, or they could never come back
STANDBY_CHECKS = 5  # times as long between two checks as for the server in use
RECHECK_SECONDS = 0.5  # after a failure that does not count yet
SETTLED_SECONDS = 10  # a nearer server has to be well, and nearer, for so long
MOST_SETTLED_SECONDS = 300  # ... and longer each time that it has been left for no good
NEARER, NEARER_SECONDS = 0.7, 0.001  # it needs that share of the round trip at most, and is so much less
FIRST_SECONDS = 2.5  # the first choice waits for the nearest's checks so long at most
REMEMBERED = 3  # servers that were in use, whose flows may still be under way


@dataclass(frozen=True)
class Move:
    """New connections go to another server."""

    source: int | None
    target: int | None  # None: there is none, and they are refused
    reason: str  # first, silent, failing, nearer, back


class Closest:
    """Decides for one service; whoever calls `step` does what it returns."""

    def __init__(self, now: float, own: int | None, pinged: bool, checked: bool, every_seconds: float) -> None:
        self._own, self._pinged, self._checked, self._every = own, pinged, checked, every_seconds
        self._began, self._waits = now, True
        self.servers: dict[int, Server] = {}
        self.server: int | None = None
        self.used: list[int] = []
        self._nearer_since: dict[int, float] = {}
        self._failures: dict[int, tuple[float, int]] = {}  # server -> (when it was last left for no good, how often)
        self._hub_answered, self._sighted = -math.inf, now
        self.know(now, set())

    # What it is told

    def know(self, now: float, live: set[int]) -> bool:
        """Take which members of the role live, as the hubs' names have it; return whether one is new.

        The one in use stays until it is silent itself: a hub whose names start anew may not know it yet.
        """
        wanted = live | ({self._own} if self._own is not None else set())
        wanted |= {self.server} if self.server is not None else set()
        new = wanted - self.servers.keys()
        for member in new:
            own = member == self._own
            # Without pings, that it lives is what the hubs say and the checks find.
            server = Server(member, self._pinged and not own, not self._checked, own, troubled=now)
            if own:
                server.rtt_seconds = 0.0
            self.servers[member] = server
        for member in self.servers.keys() - wanted:
            del self.servers[member]
        return bool(new)

    def adopt(self, now: float, server: int | None, used: list[int]) -> None:
        """Go on with what an earlier agent had chosen, which is in force."""
        self.server, self.used = server, list(used)
        self.know(now, set(self.servers))
        if server is not None:
            self._waits = False
            # Until it turns out to be otherwise.
            self.servers[server].seen = self.servers[server].healthy = True

    def heard(self, now: float, member: int, rtt_seconds: float) -> None:
        if member in self.servers:
            self.servers[member].heard(now, rtt_seconds)

    def heard_hub(self, now: float) -> None:
        if self._blind(now):
            self._sighted = now
        self._hub_answered = now

    def took(self, now: float, member: int, rtt_seconds: float | None) -> None:
        """Take a check's result; None: it failed."""
        if (server := self.servers.get(member)) is None:
            return
        if rtt_seconds is None and self._blind(now) and not server.own:
            server.checking, server.next_check = False, now + RECHECK_SECONDS
            return
        doubtful = rtt_seconds is None and server.failures + 1 < CHECKS_THAT_COUNT
        needed = member == self.server or self.server is None
        pause = self._every if needed else STANDBY_CHECKS * self._every
        server.took(now, rtt_seconds, RECHECK_SECONDS if doubtful else pause)

    # What it wants to know

    def watched(self, now: float) -> dict[int, float]:
        """Return which servers to ping, and how often: id -> period in seconds."""
        members = {self.server: PING_SECONDS} if self.server is not None else {}
        members |= {member: STANDBY_PING_SECONDS for member in self._standbys(now) if member not in members}
        for server in self.servers.values():
            pinged = members.get(server.id, 0.0) if server.pinged else 0.0
            server.watch(now, pinged)
        return {member: period for member, period in members.items() if self.servers[member].pinged}

    def due(self, now: float) -> list[int]:
        """Return which servers to check now; each is under way from then on."""
        if not self._checked:
            return []
        wanted = {*self._standbys(now), *([] if self.server is None else [self.server])}
        found = [self.servers[m] for m in sorted(wanted) if now >= self.servers[m].next_check]
        found = [server for server in found if not server.checking]
        for server in found:
            server.checking = True
        return [server.id for server in found]

    def _standbys(self, now: float) -> list[int]:
        others = [s for s in sorted(self.servers.values(), key=_far) if s.id != self.server and self._visible(s)]
        well = [s.id for s in others if s.healthy or not s.checked][:STANDBYS]
        ill = [s.id for s in others if s.checked and not s.healthy][:STANDBYS]
        before = [s.id for s in others if s.id in self.used]
        own = [s.id for s in others if s.own]
        # Without pings, a first check tells how far each is.
        unknown = [s.id for s in others if not s.pinged and math.isinf(s.rtt_seconds)][:STANDBYS]
        return list(dict.fromkeys([*own, *well, *ill, *before, *unknown]))

    @staticmethod
    def _visible(server: Server) -> bool:
        return server.seen or server.own or not server.pinged

    # What it decides

    def step(self, now: float) -> Move | None:
        """Return what to do now."""
        sighted = self._since_when(now)
        able = []
        for server in self.servers.values():
            trouble = server.trouble(now, sighted)
            if not trouble:
                able.append(server)
                continue
            server.troubled = now
            # Until it is looked at again.
            server.seen = server.seen and trouble != "silent"
        current = self.servers.get(self.server)
        if current in able:
            return self._nearer(now, current, able)
        clear = self._clear(now) or any(server.own for server in able)
        if self._waits and now - self._began < FIRST_SECONDS and not clear:
            return None
        reason = "first" if self._waits else "back"
        if current is not None:
            reason = current.trouble(now, sighted)
        target = min(
            able, key=lambda s: (now - s.troubled < SETTLED_SECONDS and not self._waits, _far(s)), default=None
        )
        if target is None and self.server is None:
            return None
        return self._move(now, target, reason)

    def well(self, now: float) -> list[int]:
        """Return the servers that could be chosen, as far as is known."""
        return sorted(s.id for s in self.servers.values() if not s.trouble(now, self._since_when(now)))

    def lost(self, now: float) -> list[int]:
        """Return the servers that were in use and are no good now: flows to them lead nowhere."""
        well = self.well(now)
        return sorted(member for member in self.used if member not in well)

    def _since_when(self, now: float) -> float:
        """Return since when silence counts."""
        return math.inf if self._blind(now) else self._sighted

    def _blind(self, now: float) -> bool:
        return now - self._hub_answered > FEWEST_MISSES / 2 * PING_SECONDS

    def _clear(self, now: float) -> bool:
        """Tell whether the nearest servers have all been looked at."""
        nearest = [self.servers[member] for member in self._standbys(now)]
        others = len(self.servers) > (self._own is not None)
        return bool(nearest) and others and all(s.checked or not self._checked for s in nearest)

    def _nearer(self, now: float, current: Server, able: list[Server]) -> Move | None:
        found = [s for s in able if s is not current and _noticeably(s, current)]
        self._nearer_since = {s.id: self._nearer_since.get(s.id, now) for s in found}
        for server in sorted(found, key=_far):
            if now - max(self._nearer_since[server.id], server.troubled) > self._settled(now, server.id):
                return self._move(now, server, "nearer")
        return None

    def _settled(self, now: float, member: int) -> float:
        last, count = self._failures.get(member, (-math.inf, 0))
        if now - last > 2 * MOST_SETTLED_SECONDS:
            return SETTLED_SECONDS
        return min(MOST_SETTLED_SECONDS, SETTLED_SECONDS * 2 ** max(0, count - 1))

    def _move(self, now: float, target: Server | None, reason: str) -> Move:
        move = Move(self.server, target.id if target else None, reason)
        self._waits = False
        if move.source is not None and reason in ("silent", "failing"):
            last, count = self._failures.get(move.source, (-math.inf, 0))
            self._failures[move.source] = (now, count + 1 if now - last < MOST_SETTLED_SECONDS else 1)
        self.server, self._nearer_since = move.target, {}
        if target is not None:
            self.used = [*(m for m in self.used if m != target.id), target.id][-REMEMBERED:]
            target.next_check = now
        return move


def _far(server: Server) -> tuple:
    return (not server.own, server.rtt_seconds, server.id)


def _noticeably(server: Server, current: Server) -> bool:
    if server.own or current.own:
        return server.own
    near, far = server.rtt_seconds, current.rtt_seconds
    return near < NEARER * far and far - near > NEARER_SECONDS
