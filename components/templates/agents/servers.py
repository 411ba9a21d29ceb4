"""One server of a service, as this host sees it. Pure: no clock, no network."""

import math
from dataclasses import dataclass

FEWEST_MISSES = 6  # a fifth of all packets lost makes so many in a row once in an hour
SMOOTHING = 0.1
CHECKS_THAT_COUNT = 2  # failures in a row


@dataclass
class Server:
    """A member of the role that serves; times are monotonic seconds."""

    id: int
    pinged: bool  # it would answer; never itself
    healthy: bool  # as checks have it; True from the beginning where there is none
    own: bool = False
    rtt_seconds: float = math.inf
    seen: bool = False  # it answered when all were looked at last
    answered: float = -math.inf
    since: float = math.inf  # from when on it has been pinged without a pause
    period_seconds: float = 0.0  # between two pings
    troubled: float = -math.inf  # when it was last no server to choose
    failures: int = 0  # of checks, in a row
    checked: bool = False  # there is a result
    checking: bool = False
    next_check: float = -math.inf

    def watch(self, now: float, period_seconds: float) -> None:
        """It is pinged from now on; 0 ends that."""
        if period_seconds != self.period_seconds:
            self.period_seconds, self.since = period_seconds, now if period_seconds else math.inf

    def heard(self, now: float, rtt_seconds: float) -> None:
        old = self.rtt_seconds
        self.answered, self.seen = now, True
        near = math.isinf(old)
        self.rtt_seconds = rtt_seconds if near else (1 - SMOOTHING) * old + SMOOTHING * rtt_seconds

    def looked_at(self, rtt_seconds: float | None) -> None:
        """Take what a look at all servers brought; None: no answer."""
        self.seen = rtt_seconds is not None
        if rtt_seconds is not None and not self.period_seconds:
            self.rtt_seconds = rtt_seconds

    def took(self, now: float, rtt_seconds: float | None, again_seconds: float) -> None:
        """Take a check's result.

        Args:
            rtt_seconds: How long a connection took; None: the check failed.
            again_seconds: Until the next one.
        """
        self.checking, self.next_check = False, now + again_seconds
        self.checked = True
        if rtt_seconds is None:
            self.failures += 1
            self.healthy = self.healthy and self.failures < CHECKS_THAT_COUNT
            return
        self.failures, self.healthy = 0, True
        if not self.pinged and not self.own:
            self.heard(now, rtt_seconds)

    def lives(self, now: float, sighted: float) -> bool:
        """Tell whether it answers.

        Args:
            sighted: Since when this host has seen anything at all; infinity while it is blind.
        """
        if self.own or not self.pinged:
            return True
        if not self.period_seconds:
            return self.seen
        return now - max(self.answered, self.since, sighted) <= FEWEST_MISSES * self.period_seconds

    def trouble(self, now: float, sighted: float) -> str:
        """Return why it is no server to choose; "" if it is one."""
        if not self.lives(now, sighted):
            return "silent"
        return "" if self.healthy else "failing"
