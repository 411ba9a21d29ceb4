"""A host's tunnels as their probes show them: silence, loss, what is more than chance. Pure: no clock, no network."""

import hashlib
import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Address, ip_address

NAME = "[a-z]([a-z0-9-]{0,18}[a-z0-9])?"  # as the stack file's
MOST_PORTS = 16  # of one hub
PROBE_SECONDS = 0.1
# Probes lost in a row: 3 on a clean path, more on one that loses packets, so that chance alone moves nobody: n such
# that loss ** n is below one in a million.
FEWEST_MISSES, MOST_MISSES = 3, 15
BY_CHANCE = 1e-6
FRESH_SECONDS = 0.25  # an answer not older than this: the path works now
LOSS_SECONDS = 10  # over which loss is measured
LATELY_SECONDS = 2
MEASURED_ANSWERS = 20  # from which on a path's loss is known
STEADY_SECONDS = 30  # two machines of one name push each other out within seconds
FLOOD_SECONDS = 3  # as long as more is sent into a tunnel than it takes, silence may be that, but not for longer
MUCH_WORSE = 0.05  # of loss, beyond what chance alone makes: enough to leave a path that still works
DEVIATIONS = 3.5  # what chance alone makes, in standard deviations
PROHIBITED = "Administratively Prohibited"
SURVEYED = re.compile(r"^(\S+)\s+: ([\d. -]+)$")


@dataclass(frozen=True)
class Hub:
    """One hub, as the hubs tell of each other.

    Raises:
        ValueError: Something in it is not what it should be: it becomes part of OpenVPN's configuration, and no hub may
            write there what it likes.
    """

    id: int
    site: str
    name: str
    ipv4: str  # in the overlay
    endpoint: str  # on the underlay
    port: int
    tcp_port: int
    # By UDP too, a process on each; a hub with one process leaves it out.
    more_ports: Sequence[int] = ()
    inner: str = ""  # in the network of its site, for those who stand there

    def __post_init__(self) -> None:
        object.__setattr__(self, "more_ports", tuple(self.more_ports))
        ip_address(self.endpoint), IPv4Address(self.ipv4), IPv4Address(self.inner or self.ipv4)
        names = all(re.fullmatch(NAME, name) for name in (self.site, self.name))
        numbers = all(type(number) is int and 0 < number < 65_536 for number in (self.id, *self._ports))
        if not (names and numbers and len(self._ports) <= MOST_PORTS):
            raise ValueError(f"no hub: {self}")

    @classmethod
    def of(cls, told: dict, network: str) -> "Hub":
        """Return a hub as a host knows it.

        Args:
            told: What is said of it; words that later hubs may use are passed over.
            network: The site in whose network the host stands: of another, a hub's inner address is a stranger's.

        Raises:
            ValueError, TypeError: It is none.
        """
        if not isinstance(told, dict):
            raise TypeError(f"no hub: {told}")
        known = {one.name for one in fields(cls)}
        hub = cls(**{name: value for name, value in told.items() if name in known})
        return hub if hub.site == network else replace(hub, inner="")

    @property
    def addresses(self) -> list[str]:
        """Return where it is on the underlay, the better first."""
        return [*([self.inner] if self.inner else []), self.endpoint]

    @property
    def key(self) -> str:
        return f"{self.site}/{self.name}"

    @property
    def _ports(self) -> tuple[int, ...]:
        return (self.port, self.tcp_port, *self.more_ports)

    def door(self, transport: str, seat: int = 0, turn: int = 0) -> tuple[str, int]:
        """Return the address and the port at which a host comes in.

        Args:
            seat: The host's address: by it hosts spread over a hub's processes.
            turn: 0 for its own process; others follow in an order of its own, so that a dead one's hosts spread. In
                the same network all processes by the inner address come first, then all by the one from outside.
        """
        if transport != "udp":
            return self.endpoint, self.tcp_port
        ports = [self.port, *self.more_ports]
        own = ports.pop(seat % len(ports))
        ports.sort(key=lambda port: hashlib.sha256(f"{seat}|{port}".encode()).digest())
        ways = [(address, port) for address in self.addresses for port in (own, *ports)]
        return ways[turn % len(ways)]


@dataclass(frozen=True)
class Seen:
    """What a ping to a hub's public side said."""

    rtt_seconds: float | None  # None: no answer
    fit: bool = True


@dataclass(frozen=True)
class Detour:
    """A hub is reached by another process than this host's own, which has failed."""

    since: float
    seconds: float  # until its own is tried again
    turn: int  # see Hub.door


@dataclass
class Path:
    """One tunnel and what its probes say."""

    number: int
    hub: Hub | None = None
    transport: str = "udp"
    turn: int = 0  # see Hub.door
    opened: float = -math.inf
    answered: float = -math.inf  # the last answer
    fit: bool = True  # as the last answer said
    unfit_since: float = math.inf
    flooded: float = -math.inf  # when more was last sent into it than it takes: probes were lost there, on no way
    troubled: float = -math.inf  # when it was last not well
    stale: bool = False  # runs with options that have changed since
    answers: deque = field(default_factory=lambda: deque(maxlen=round(LOSS_SECONDS / PROBE_SECONDS)))  # (when, number)
    rtt_seconds: float = math.inf
    loss: float = 0.0  # share of the probes that brought no answer, up to the last one that did
    patience: float = FEWEST_MISSES * PROBE_SECONDS
    mtu_bytes: int = 0  # how large its packets may be, as far as is known

    def open(self, now: float, hub: Hub, transport: str, turn: int = 0) -> None:
        self.hub, self.transport, self.turn, self.opened, self.answered = hub, transport, turn, now, -math.inf
        self.fit, self.unfit_since, self.troubled, self.stale = True, math.inf, now, False
        self.flooded = -math.inf
        self.answers.clear()
        self.rtt_seconds, self.loss, self.patience = math.inf, 0.0, FEWEST_MISSES * PROBE_SECONDS

    def heard(self, now: float, number: int, rtt_seconds: float | None, fit: bool) -> None:
        """Take the answer to a probe.

        Args:
            number: Which of the probes since the tunnel was opened. Loss is counted by it, not by the clock: a computer
                that is busy sends probes late, and those that it has not sent are not lost.
            rtt_seconds: None where the hub only said that it is not fit.
        """
        self.answered = now
        self.answers.append((now, number))
        if rtt_seconds is not None:
            old = self.rtt_seconds
            self.rtt_seconds = rtt_seconds if math.isinf(old) else 0.9 * old + 0.1 * rtt_seconds
        self.unfit_since = math.inf if fit else min(self.unfit_since, now)
        self.fit = fit
        self._measure()

    def excuse(self, late_seconds: float) -> None:
        """Take that nobody asked for so long, since the computer stood still: that is no silence."""
        if late_seconds > 0 and self.answers:
            self.answered += late_seconds

    def silence(self, now: float) -> float:
        return now - max(self.answered, self.opened, min(self.flooded, self.answered + FLOOD_SECONDS))

    def works(self, now: float) -> bool:
        """Tell whether this path would carry a packet now."""
        return len(self.answers) >= FEWEST_MISSES and now - self.answered <= FRESH_SECONDS

    def steady(self, now: float) -> bool:
        """Tell whether it has worked for so long that no other machine with this host's name has a tunnel there."""
        return self.works(now) and now - self.troubled > STEADY_SECONDS

    def _measure(self) -> None:
        """Work out the loss up to the last answer, and the silence in seconds that would be no chance any more."""
        self.loss = self._loss_over(LOSS_SECONDS) if len(self.answers) >= MEASURED_ANSWERS else 0.0
        # Loss that has just begun shows in the last seconds only.
        loss = max(self._loss_over(LOSS_SECONDS), self._loss_over(LATELY_SECONDS))
        misses = math.log(BY_CHANCE) / math.log(loss) if 0 < loss < 1 else 0
        self.patience = PROBE_SECONDS * min(MOST_MISSES, max(FEWEST_MISSES, misses))

    def _loss_over(self, seconds: float) -> float:
        last, _ = self.answers[-1]
        recent = [number for at, number in self.answers if at >= max(last - seconds, self.flooded)]
        if not recent:
            return 0.0
        sent = max(recent) - min(recent)
        return max(0.0, 1 - (len(recent) - 1) / sent) if sent > 0 else 0.0

    def dead(self, now: float) -> bool:
        return self.silence(now) > self.patience


def much_worse(current: Path, other: Path) -> bool:
    """Tell whether `current` loses so much more than `other` that it is no chance."""
    samples = min(len(current.answers), len(other.answers))
    if samples < MEASURED_ANSWERS:
        return False
    mean = (current.loss + other.loss) / 2
    deviation = math.sqrt(2 * mean * (1 - mean) / samples)
    return current.loss - other.loss > MUCH_WORSE + DEVIATIONS * deviation


def tunnel_lines(number: int, hub: Hub, transport: str, seat: int = 0, turn: int = 0) -> list[str]:
    """Return what /etc/vcubev/path.conf leaves open: OpenVPN's options for a tunnel to one hub."""
    endpoint, port = hub.door(transport, seat, turn)
    by = {"udp": ["proto udp4", "fast-io", "explicit-exit-notify 1"], "tcp": ["proto tcp4-client"]}
    protocol, *more = by[transport]
    return [
        f"dev path{number}",
        protocol,
        f"remote {endpoint} {port}",
        *more,
        f"verify-x509-name hub.{hub.site}.{hub.name} name",
    ]


def surveyed(told: str, endpoints: dict[str, int]) -> dict[int, Seen]:
    """Read what `fping -q -C` printed: endpoint -> hub id gives hub id -> what was seen."""
    prohibited = {endpoint for endpoint in endpoints if f"{PROHIBITED} from {endpoint} " in told}
    seen = {}
    for line in told.splitlines():
        if (found := SURVEYED.match(line)) and found[1] in endpoints:
            times = [float(part) / 1000 for part in found[2].split() if part != "-"]
            fit = found[1] not in prohibited
            # One that says it is not fit lives all the same.
            one = Seen(min(times, default=None if fit else 1.0), fit)
            # Of two ways to a hub, the one that brings an answer sooner.
            seen[endpoints[found[1]]] = min(seen.get(endpoints[found[1]], one), one, key=_slowness)
    return seen


def _slowness(seen: Seen) -> float:
    return math.inf if seen.rtt_seconds is None else seen.rtt_seconds
