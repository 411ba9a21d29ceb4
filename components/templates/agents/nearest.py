"""Finds the nearest server of each service that has a shared address, and has new connections led there.

Hubs say which members of a role live, fping how far they are, checks whether they are well, `closest` which one to use.
What was chosen is a file, by which vcubev-steer writes the rules: this agent has no right to. They go on without it.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import sys
import time
from ipaddress import IPv4Address

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from closest import PING_SECONDS, STANDBY_PING_SECONDS, Closest, Move
from health import check
from members import Unknown, live_members
from metrics import replace
from probes import Prober, look_at

SERVICES = pathlib.Path("/etc/vcubev/nearest")
RUN = pathlib.Path("/run/vcubev-nearest")
STEER = "/run/vcubev-steer"  # a line there has vcubev-steer read what was chosen
TICK_SECONDS = 0.1
FILES_SECONDS = 1
STATE_SECONDS = 1
WHOLE_STATE_SECONDS = 5  # at the latest: the file's age tells whether this lives
STEER_RETRY_SECONDS = 1
ASK_SECONDS, ASK_SOON_SECONDS = 5, 1  # who lives; soon while there is no server
LOOK_SECONDS, LOOK_SOON_SECONDS = 30, 5  # how far all are; soon while one is not seen


class Service:
    """One service: what is known of its servers, and what is done to know it."""

    def __init__(self, name: str, text: str, before: dict) -> None:
        """Begin.

        Args:
            before: What an earlier agent told of it.
        """
        self.name, self.text = name, text
        self.config = config = json.loads(text)
        self._first = IPv4Address(config["prefix"])
        self._checked = config["check"]["tcp"] is not None or config["check"]["http"] is not None
        now = time.monotonic()
        self.closest = Closest(now, config["own"], config["ping"], self._checked, config["every_seconds"])
        self.since, self.moves, self.last_move = None, {}, None
        with contextlib.suppress(KeyError, TypeError):
            self.closest.adopt(now, before["id"], before["used"])
            self.since, self.moves, self.last_move = before["since"], dict(before["moves"]), before["last_move"]
        self._probers = {period: Prober(period, None, self._heard) for period in (PING_SECONDS, STANDBY_PING_SECONDS)}
        self._look_at = 0.0
        self._tasks: set[asyncio.Task] = set()
        self._start(self._ask())
        if config["ping"]:
            self._start(self._look())

    def end(self) -> None:
        for prober in self._probers.values():
            prober.end()
        for task in self._tasks:
            task.cancel()

    def _start(self, work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _address(self, member: int) -> str:
        return str(self._first + member)

    def _member(self, address: str) -> int:
        return int(IPv4Address(address)) - int(self._first)

    # What it learns

    async def _ask(self) -> None:
        while True:
            try:
                live = await live_members(self.config["names"], self.config["role"], self.config["prefix"])
                if self.closest.know(time.monotonic(), live):
                    self._look_at = 0.0
            except Unknown:
                pass  # who lived then may live now
            await asyncio.sleep(ASK_SOON_SECONDS if self.closest.server is None else ASK_SECONDS)

    async def _look(self) -> None:
        while True:
            if time.monotonic() >= self._look_at:
                wanted = [self._address(server.id) for server in self.closest.servers.values() if not server.own]
                # Before: whoever comes meanwhile is looked at next.
                self._look_at = time.monotonic() + LOOK_SECONDS
                for address, rtt_seconds in (await look_at(wanted)).items():
                    if server := self.closest.servers.get(self._member(address)):
                        server.looked_at(rtt_seconds)
                if not all(server.seen or server.own for server in self.closest.servers.values()):
                    self._look_at = min(self._look_at, time.monotonic() + LOOK_SOON_SECONDS)
            await asyncio.sleep(TICK_SECONDS)

    def _heard(self, address: str, rtt_seconds: float | None) -> None:
        now = time.monotonic()
        if address == self.config["names"]:
            self.closest.heard_hub(now)
        elif rtt_seconds is not None:
            self.closest.heard(now, self._member(address), rtt_seconds)

    async def _check(self, member: int) -> None:
        took = await check(self._address(member), self.config["check"])
        self.closest.took(time.monotonic(), member, took)

    # What it does

    def step(self) -> Move | None:
        """Do what is due; return where new connections go from now on, if elsewhere."""
        now = time.monotonic()
        move = self.closest.step(now)
        if move is not None:
            self._tell(move)
        for member in self.closest.due(now):
            self._start(self._check(member))
        watched = self.closest.watched(now)
        for period, prober in self._probers.items():
            hub = [self.config["names"]] if period == PING_SECONDS else []
            prober.ping([*hub, *(self._address(member) for member, every in watched.items() if every == period)])
        return move

    def _tell(self, move: Move) -> None:
        source, target = (None if member is None else self._address(member) for member in (move.source, move.target))
        ends = {"from": source, "to": target}
        print(f"{self.name}: from {source} to {target}: {move.reason}", flush=True)
        self.since = round(time.time(), 3)
        self.last_move = {"at": self.since, **ends, "reason": move.reason}
        self.moves[move.reason] = self.moves.get(move.reason, 0) + 1

    def chosen(self) -> dict:
        return {"server": self.closest.server, "lost": self.closest.lost(time.monotonic())}

    def state(self) -> dict:
        closest = self.closest
        current = closest.servers.get(closest.server)
        rtt_seconds = current.rtt_seconds if current else float("inf")
        return {
            "shared": sorted(self.config["shared"].values()),
            "id": closest.server,
            "server": self._address(closest.server) if closest.server is not None else None,
            "rtt_ms": round(rtt_seconds * 1000, 1) if rtt_seconds < 60 else None,
            "since": self.since,
            "servers": [self._address(member) for member in sorted(closest.servers)],
            "healthy": [self._address(member) for member in closest.well(time.monotonic())],
            "moves": self.moves,
            "last_move": self.last_move,
            "used": closest.used,
        }


class Agent:
    """All services of this host."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self._before: dict = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._before = dict(json.loads((RUN / "state.json").read_text())["services"])
        self._chosen: dict | None = None
        self._steer_at = 0.0
        self._state, self._whole_at = {}, 0.0

    def load_services(self) -> None:
        """Take the services that the stack file has now; one that changed begins anew with the server that it had."""
        texts = {}
        for file in SERVICES.glob("*.json"):
            with contextlib.suppress(OSError):  # it goes while this looks
                texts[file.stem] = file.read_text()
        for name in [name for name, service in self.services.items() if texts.get(name) != service.text]:
            gone = self.services.pop(name)
            self._before[name] = gone.state()
            gone.end()
        for name in texts.keys() - self.services.keys():
            before = self._before.pop(name, {})
            with contextlib.suppress(ValueError, KeyError):
                self.services[name] = Service(name, texts[name], before)
        self._before.clear()

    async def run(self) -> None:
        next_files = next_state = 0.0
        while True:
            now = time.monotonic()
            if now >= next_files:
                next_files = now + FILES_SECONDS
                self.load_services()
            moved = [service.step() for service in self.services.values()]
            self._steer(now)
            if now >= next_state or any(moved):
                next_state = now + STATE_SECONDS
                self._write(now)
            await asyncio.sleep(TICK_SECONDS)

    def _steer(self, now: float) -> None:
        """Have the rules follow what was chosen, again until somebody listens."""
        chosen = {name: service.chosen() for name, service in sorted(self.services.items())}
        if chosen == self._chosen or now < self._steer_at:
            return
        self._steer_at = 0.0
        if replace(RUN / "chosen.json", json.dumps(chosen)) and ask_for_rules():
            self._chosen = chosen
        else:
            self._steer_at = now + STEER_RETRY_SECONDS

    def _write(self, now: float) -> None:
        state = {"services": {name: service.state() for name, service in sorted(self.services.items())}}
        if (state != self._state or now >= self._whole_at) and replace(RUN / "state.json", json.dumps(state)):
            self._state, self._whole_at = state, now + WHOLE_STATE_SECONDS


def ask_for_rules() -> bool:
    """Have vcubev-steer read what was chosen; return whether it will."""
    try:
        with open(os.open(STEER, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as fifo:
            fifo.write(b"\n")
    except OSError as problem:
        print(f"the rules cannot be changed: {problem}", flush=True)
        return False
    return True


if __name__ == "__main__":
    asyncio.run(Agent().run())
