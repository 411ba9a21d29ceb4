"""Two hosts in simulated time, hubs between them, and whatever tunnels they have."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from tests.agents.loading import load

shortcuts, straight, arranging, signals = load("shortcuts"), load("straight"), load("arranging"), load("signals")
PORTS = range(20_300, 20_332)
STEP_SECONDS = 0.04
START_SECONDS = 0.8  # until an OpenVPN has its device and its peer
LOOK_SECONDS = 5
ONE, TWO = (int(IPv4Address(f"10.100.1.{number}")) for number in (1, 2))
MUCH = 2_000_000
PUBLIC = ("oregon", "", "203.0.113.1"), ("paris", "", "203.0.113.2")


@dataclass
class World:
    """Two hosts, hubs between them, and whatever tunnels they have."""

    places: tuple = PUBLIC
    seed: int = 1
    now: float = 1000.0
    talk: dict = field(default_factory=dict)  # host -> bytes in a look
    hubs: bool = True  # whether they carry what hosts say
    way: bool = True  # whether the underlay does
    loss: float = 0.0
    flood: bool = False  # the first sends more by its tunnel than that takes
    history: list = field(default_factory=list)  # (time, host, action)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        draws = itertools.count(1)
        self.hosts = {
            own: shortcuts.Shortcuts(own, *place, PORTS, lambda size: f"{next(draws):0{2 * size}x}")
            for own, place in zip((ONE, TWO), self.places, strict=True)
        }
        self.running: dict[tuple[int, int], tuple[float, object]] = {}  # (host, slot) -> since when, how
        self._under_way: list = []
        self._next_look = self.now
        self._came = 0

    def run(self, seconds: float) -> list:
        begin, end = len(self.history), self.now + seconds
        while self.now < end:
            self._pass()
        return self.history[begin:]

    def until(self, wanted, seconds: float = 60) -> float:
        begin = self.now
        while not wanted():
            assert self.now - begin < seconds, "it never happened"
            self._pass()
        return self.now - begin

    def _pass(self) -> None:
        self.now += STEP_SECONDS
        if self.now >= self._next_look:
            self._next_look += LOOK_SECONDS
            for host in self.hosts:
                self._do(host, self.hosts[host].talked(self.now, {ONE + TWO - host: self.talk.get(host, 0)}))
        arrived = [one for one in self._under_way if one[0] <= self.now]
        self._under_way = [one for one in self._under_way if one[0] > self.now]
        for _, to, message, slot in arrived:
            self._do(to, self.hosts[to].heard(self.now, ONE + TWO - to, message, slot))
        for host, slot in [*self.running]:
            if self.way and self.works() and self.flood and host == TWO:
                self._came += 50
            self.hosts[host].received(slot, self._came)
        for host, agent in self.hosts.items():
            self._do(host, agent.step(self.now))

    def _do(self, host: int, actions: list) -> None:
        for action in actions:
            if not isinstance(action, straight.Say):
                self.history.append((self.now, host, action))
            if isinstance(action, straight.Start):
                self.running[host, action.slot] = (self.now, action)
            elif isinstance(action, straight.Stop):
                self.running.pop((host, action.slot), None)
            elif isinstance(action, straight.Say):
                self._say(host, action)

    def _say(self, host: int, say) -> None:
        message = signals.read(signals.write(say.message), PORTS)
        if not say.slot:
            if self.hubs:
                self._under_way.append((self.now + 0.02, say.peer, message, 0))
            return
        other = next((key for key in self.running if key[0] == say.peer), None)
        loss = 0.95 if self.flood and host == ONE else self.loss
        if other and self.way and self.works() and self._random.random() >= loss:
            self._under_way.append((self.now + 0.01, say.peer, message, other[1]))

    def works(self) -> bool:
        """Whether the two OpenVPNs have found each other."""
        if {host for host, _ in self.running} != {ONE, TWO}:
            return False
        (since, one), (later, two) = self.running.values()
        fits = {one.listen, two.listen} == {True, False} and (one.port, one.secret) == (two.port, two.secret)
        return fits and self.now - max(since, later) > START_SECONDS

    def in_use(self) -> set[int]:
        return {host for host, agent in self.hosts.items() if any(one.in_use for one in agent.tunnels.values())}

    def both(self) -> bool:
        return self.in_use() == {ONE, TWO}

    def open(self) -> World:
        self.talk = {ONE: MUCH}
        self.until(self.both)
        return self


def kinds(history, kind):
    return [(at, host, action) for at, host, action in history if isinstance(action, kind)]
