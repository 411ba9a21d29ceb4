"""Asks all machines of a stack at once how they are, each in its own time. Changes nothing on any of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncssh

from components.model.topology import Topology
from scripts.cli.assemble import assemble
from scripts.cli.inventory import Inventory, Member
from scripts.cli.reach import (
    DIRECT_STATE,
    HOST_STATE,
    HUB_STATE,
    NEAREST_STATE,
    SHOW_HOSTS,
    Observer,
    Unreachable,
    all_at_once,
    round_trips,
)
from scripts.cli.snapshot import Snapshot

# By IPv6, for a hub that drains answers IPv4 pings with a refusal.
PING_LINK = "ping -6 -n -q -c 3 -i 0.2 -W 1"
CLOSE_SECONDS = 2
PINGS_SECONDS = 3  # what those of a dead link take, and a little
LINKS_SECONDS = 5  # between two looks at how long links take, while one follows
# An agent writes its metrics every five seconds, changed or not.
AGE = "echo $(($(date +%s) - $(stat -c %Y {directory}/vcubev.prom)))"
FACTS = """uname -r
/usr/sbin/openvpn --version | head -n 1
[ ! -x /usr/sbin/bird ] || /usr/sbin/bird --version 2>&1
ip -d -j link show dev {device}
cat /run/vcubev-offload/found.json 2>/dev/null
"""
DEVICES = {"hub": "hosts-udp", "host": "path1"}


@dataclass(frozen=True)
class Patience:
    """How long a machine may take. One that answers nothing holds up nobody else."""

    connect_seconds: float = 5.0
    answer_seconds: float = 5.0
    whole_seconds: float = 20.0  # for one look at all of them, whatever happens


FOLLOWING = Patience(4.0, 2.0)
NOT_ASKED = "not asked yet"


@dataclass
class Answer:
    """What one machine said last."""

    state: dict[str, Any] | None = None  # its agent's; None: never heard
    age_seconds: int | None = None  # since its agent last wrote
    routes: list[dict[str, Any]] | None = None  # of a hub's hosts
    direct: dict[str, dict[str, Any]] = field(default_factory=dict)  # number -> a host's tunnel to another host
    nearest: dict[str, dict[str, Any]] = field(default_factory=dict)  # service -> the server that a host uses
    facts: list[str] = field(default_factory=list)
    link_ms: dict[str, float | None] = field(default_factory=dict)  # hub -> milliseconds; None: no answer
    host_ms: dict[tuple[str, str, str], float | None] = field(default_factory=dict)
    why: str = NOT_ASKED  # there is no answer; "" if there is
    asked: float = -math.inf  # monotonic
    answered: float = -math.inf


class Gatherer:
    """Looks at a stack once, or for as long as somebody watches."""

    def __init__(
        self, stack: str, inventory: Inventory, topology: Topology | None = None, patience: Patience = Patience()
    ) -> None:
        self._stack, self._inventory, self._topology, self._patience = stack, inventory, topology, patience
        self._observer = Observer(inventory)
        self._members = {**inventory.hubs, **inventory.hosts}
        self._tried = {hub: asyncio.Event() for hub in inventory.hubs}
        self.answers = {name: Answer() for name in self._members}

    async def __aenter__(self) -> Gatherer:
        return self

    async def __aexit__(self, *reason: object) -> None:
        # Nobody says good-bye to a machine that is dead.
        for name in list(self._observer.connections):
            self._observer.forget(name)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._observer.__aexit__(*reason), CLOSE_SECONDS)

    def snapshot(self) -> Snapshot:
        """Return what is known by now."""
        return assemble(self._stack, self._inventory, self._topology, self.answers, datetime.now(UTC), time.monotonic())

    async def once(self, between_hosts: bool = False) -> Snapshot:
        """Ask every machine once, and return what there is when all have answered or the time is up.

        Args:
            between_hosts: Whether hosts ping each other as well: as many pings as there are pairs; not where
                they answer none.
        """

        async def ask(member: Member) -> None:
            await self._ask(member)
            if member.name in self._inventory.hubs:
                await self._ask_links(member)

        asking = [asyncio.create_task(ask(member)) for member in self._members.values()]
        _, late = await asyncio.wait(asking, timeout=self._patience.whole_seconds) if asking else (None, set())
        await self._give_up(late)
        if between_hosts and self._inventory.pings:
            hosts = [name for name in self._inventory.hosts if name in self._observer.connections]
            pinging = [asyncio.create_task(self._ping_hosts(name)) for name in hosts]
            _, late = await asyncio.wait(pinging, timeout=self._patience.whole_seconds) if pinging else (None, set())
            await self._give_up(late)
        return self.snapshot()

    async def _give_up(self, late: set[asyncio.Task[None]]) -> None:
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def follow(self, seconds: float, changed: Callable[[], None] = lambda: None) -> None:
        """Ask each machine again and again, for ever: whoever cancels this ends it.

        Args:
            seconds: Between a machine's answer and the next question to it.
            changed: Called whenever a machine has answered, or has not.
        """

        async def again(member: Member) -> None:
            while True:
                await self._ask(member)
                changed()
                await asyncio.sleep(seconds)

        async def links_again(member: Member) -> None:
            while True:
                await self._ask_links(member)
                await asyncio.sleep(LINKS_SECONDS if self.answers[member.name].link_ms else seconds)

        async with asyncio.TaskGroup() as group:
            for member in self._members.values():
                group.create_task(again(member))
            for member in self._inventory.hubs.values():
                group.create_task(links_again(member))

    async def _ask(self, member: Member) -> None:
        answer = self.answers[member.name]
        answer.asked = time.monotonic()
        try:
            await self._connect(member)
            if not answer.facts:
                answer.facts = (await self._run(member, FACTS.format(device=DEVICES[_kind(member)]))).splitlines()
            await (self._ask_hub if _kind(member) == "hub" else self._ask_host)(member, answer)
            answer.why, answer.answered = "", time.monotonic()
        except asyncio.CancelledError:
            answer.why = f"no answer within {self._patience.whole_seconds:g} s"
            raise
        except (Unreachable, OSError, asyncssh.Error, TimeoutError) as problem:
            answer.why = str(problem) or "it does not answer any more"
            self._observer.forget(member.name)
            # It may come back as another machine.
            answer.facts = []

    async def _connect(self, member: Member) -> None:
        if member.name in self._observer.connections:
            return
        if _kind(member) == "host":
            # By its gateway, or by any hub: so all must have been tried.
            wanted = [member.ssh.gateway] if member.ssh.gateway in self._tried else []
            await asyncio.gather(*[self._tried[hub].wait() for hub in wanted])
            if member.ssh.gateway and member.ssh.gateway not in self._observer.connections:
                await asyncio.gather(*[tried.wait() for tried in self._tried.values()])
        try:
            await self._observer.connect_to(member, self._patience.connect_seconds, over_overlay=True)
        finally:
            if member.name in self._tried:
                self._tried[member.name].set()

    async def _ask_hub(self, member: Member, answer: Answer) -> None:
        age = AGE.format(directory=HUB_STATE.rpartition("/")[0])
        state, _, rest = (await self._run(member, f"cat {HUB_STATE}; echo; {age}; {SHOW_HOSTS}")).partition("\n")
        seconds, _, routes = rest.partition("\n")
        answer.state, answer.age_seconds = _decoded(state) or {}, _number(seconds)
        answer.routes = _decoded(routes) or []

    async def _ask_links(self, member: Member) -> None:
        """Measure a hub's links, each by itself: not what other hubs would make of a link that is down."""
        answer = self.answers[member.name]
        if answer.why or not answer.state:
            return
        peers = {link["id"]: link["peer"] for link in answer.state.get("links", ()) if link["peer"] in self._members}
        pings = {at: f"{PING_LINK} -I link{at} {self._members[peer].ipv6}" for at, peer in peers.items()}
        seconds = self._patience.answer_seconds + PINGS_SECONDS
        with contextlib.suppress(OSError, asyncssh.Error, TimeoutError, KeyError):
            found = round_trips(await self._observer.run(member.name, all_at_once(pings), seconds=seconds))
            answer.link_ms = {peer: found.get(at) for at, peer in peers.items()}

    async def _ask_host(self, member: Member, answer: Answer) -> None:
        age = AGE.format(directory=HOST_STATE.rpartition("/")[0])
        more = f"cat {NEAREST_STATE} 2>/dev/null; echo; cat {DIRECT_STATE} 2>/dev/null || :"
        state, _, rest = (await self._run(member, f"cat {HOST_STATE}; echo; {age}; {more}")).partition("\n")
        seconds, _, rest = rest.partition("\n")
        servers, _, direct = rest.partition("\n")
        answer.state, answer.age_seconds = _decoded(state) or {}, _number(seconds)
        answer.nearest = (_decoded(servers) or {}).get("services", {})
        answer.direct = (_decoded(direct) or {}).get("tunnels", {})

    async def _ping_hosts(self, name: str) -> None:
        others = [other for other in self._inventory.hosts.values() if other.name != name]
        try:
            self.answers[name].host_ms = await self._observer.reach(name, others)
        except (OSError, asyncssh.Error, TimeoutError, KeyError):
            self.answers[name].host_ms = {}

    async def _run(self, member: Member, command: str) -> str:
        try:
            return await self._observer.run(member.name, command, seconds=self._patience.answer_seconds)
        except KeyError:
            raise Unreachable("the connection has gone") from None
        except TimeoutError:
            raise Unreachable(f"no answer within {self._patience.answer_seconds:g} s") from None


def _kind(member: Member) -> str:
    return "host" if member.role else "hub"


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _number(text: str) -> int | None:
    try:
        return int(text.split("\n")[0])
    except ValueError:
        return None
