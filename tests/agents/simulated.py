"""A host's two tunnels in simulated time: hubs that die, drain, lose packets or hear no UDP."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.agents.loading import load

choice, tunnels = load("choice"), load("tunnels")

STEP_SECONDS = 0.05
HANDSHAKE_SECONDS = 0.3
SURVEY_SECONDS = 5


def hub(number: int, site: str = "oregon", name: str | None = None):
    """Return a hub of a site, named a, b, c ... by its number."""
    return tunnels.Hub(number, site, name or chr(96 + number), f"10.100.0.{number}", f"203.0.113.{number}", 1194, 443)


@dataclass
class Behaviour:
    """What a hub does to this host's packets."""

    up: bool = True
    fit: bool = True
    udp: bool = True
    dead_ports: set[int] = field(default_factory=set)  # by UDP
    dead_addresses: set[str] = field(default_factory=set)
    loss: float = 0.0  # one way
    rtt_seconds: float = 0.01


@dataclass
class World:
    """One host among hubs. `history` holds (time, action)."""

    hubs: list
    host: str = "web-1"
    site: str = "oregon"
    seed: int = 1
    now: float = 1000.0
    history: list = field(default_factory=list)
    survey_answers: bool = True
    probe_steps: int = 2  # from one probe to the next: 100 ms; more where the computer is busy

    def __post_init__(self) -> None:
        self.choice = choice.Choice(self.host, self.site)
        self.choice.know(self.hubs)
        self.behaviour = {each.id: Behaviour() for each in self.hubs}
        self._random = random.Random(self.seed)
        self._since: dict[int, float] = {}  # path -> since when its tunnel could carry
        self._next_survey = 0.0
        self._arrivals: list[tuple[float, int, int, int, bool]] = []
        self._probes = 0

    def run(self, seconds: float) -> list:
        """Let time pass; return what was done meanwhile."""
        start = len(self.history)
        end = self.now + seconds
        while self.now < end - 1e-9:
            self._pass()
        return self.history[start:]

    def until(self, wanted, seconds: float = 120) -> float:
        """Let time pass until something holds; return how long that took."""
        start = self.now
        while not wanted(self):
            assert self.now - start < seconds, "it never happened"
            self._pass()
        return self.now - start

    def _pass(self) -> None:
        self.now += STEP_SECONDS
        if self.now >= self._next_survey:
            self._next_survey = self.now + SURVEY_SECONDS
            self.choice.survey = {
                each.id: tunnels.Seen(
                    self.behaviour[each.id].rtt_seconds if self._answers(each) else None, self.behaviour[each.id].fit
                )
                for each in self.choice.hubs.values()
            }
        arrived = [arrival for arrival in self._arrivals if arrival[0] <= self.now]
        self._arrivals = [arrival for arrival in self._arrivals if arrival[0] > self.now]
        for at, path, number, hub_id, fit in arrived:
            if self.choice.paths[path].hub and self.choice.paths[path].hub.id == hub_id:
                rtt = self.behaviour[hub_id].rtt_seconds
                self.choice.heard(at, path, number, rtt if fit else None, fit)
        for action in self.choice.step(self.now):
            self.history.append((self.now, action))
            if isinstance(action, choice.Open):
                self._since[action.path] = self.now + HANDSHAKE_SECONDS
        if round(self.now / STEP_SECONDS) % self.probe_steps == 0:
            self._probe()

    def _answers(self, each) -> bool:
        return self.survey_answers and self.behaviour[each.id].up

    def _probe(self) -> None:
        self._probes += 1
        for path in self.choice.paths.values():
            if path.hub is None or path.hub.id not in self.behaviour:
                continue
            at = self.behaviour[path.hub.id]
            address, port = path.hub.door(path.transport, self.choice.seat, path.turn)
            reached = at.up and address not in at.dead_addresses
            reached = reached and (path.transport == "tcp" or (at.udp and port not in at.dead_ports))
            if not reached:
                self._since[path.number] = self.now + HANDSHAKE_SECONDS
            elif self.now >= self._since[path.number]:
                lost = any(self._random.random() < at.loss for _ in range(2))
                if not lost:
                    self._arrivals.append((self.now + at.rtt_seconds, path.number, self._probes, path.hub.id, at.fit))

    # Questions

    def active(self):
        return self.choice.paths[self.choice.active].hub if self.choice.active else None

    def connected(self) -> set[int]:
        """Return the hubs to which a tunnel works now."""
        return {path.hub.id for path in self.choice.paths.values() if path.hub and path.works(self.now)}

    def both(self) -> bool:
        return len(self.connected()) == 2

    def uses(self, since: float = 0.0) -> list:
        return [(at, action) for at, action in self.history if isinstance(action, choice.Use) and at >= since]
