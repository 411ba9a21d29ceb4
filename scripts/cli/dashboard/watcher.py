"""Listens to all machines of a stack at once, each over one SSH connection that stays. Changes nothing on them."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import replace

import asyncssh

from scripts.cli.dashboard.board import Board
from scripts.cli.inventory import Inventory, Member
from scripts.cli.live import ping_links, round_trips
from scripts.cli.reach import HOST_STATE, HUB_STATE, SHOW_HOSTS, open_connection

TELL_SECONDS = 0.4  # between two words of a machine
SILENCE_SECONDS = 1.2  # from which on it is silent
PATIENCE_SECONDS = 4  # and then until it is asked anew
CONNECT_SECONDS = 4
AGAIN_SECONDS = 1
PING_SECONDS = 10


def _again_and_again(words: str) -> str:
    """Return a command that ends by itself: with nobody to write to, the next word is its last."""
    return f"sudo -n sh -c {shlex.quote(f'while :; do {words}; sleep {TELL_SECONDS}; done')}"


HOST_WORDS = _again_and_again(f"cat {HOST_STATE} 2>/dev/null; echo")
HUB_WORDS = _again_and_again(f"cat {HUB_STATE} 2>/dev/null; echo; {SHOW_HOSTS}")


class Watcher:
    """Fills a board, and calls `changed` when there is something new on it."""

    def __init__(self, board: Board, changed: Callable[[], None]) -> None:
        self._board, self._changed = board, changed
        self._inventory: Inventory = board.inventory
        self._key = asyncssh.import_private_key(self._inventory.private_key)
        self._connections: dict[str, asyncssh.SSHClientConnection] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            for member in (*self._inventory.hubs.values(), *self._inventory.hosts.values()):
                group.create_task(self._follow(member))

    async def _follow(self, member: Member) -> None:
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await self._connect(member)
                try:
                    await self._listen(member, connection)
                finally:
                    self._connections.pop(member.name, None)
                    connection.abort()
            except (OSError, asyncssh.Error, TimeoutError, ValueError) as problem:
                self._silent(member.name, str(problem) or "it does not answer")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _connect(self, member: Member) -> asyncssh.SSHClientConnection:
        """Connect as `vcubev ssh` does: directly, through the hub beside it, or over the overlay by any other hub.

        Raises:
            OSError, asyncssh.Error: It does not answer.
        """
        access, gateway = member.ssh, member.ssh.gateway
        if gateway and gateway not in self._connections:
            through = next((hub for hub in self._inventory.hubs if hub in self._connections), None)
            if through is None:
                raise OSError(f"its gateway {gateway} does not answer")
            access, gateway = replace(access, address=member.ipv4), through
        tunnel = self._connections[gateway] if gateway else None
        return await open_connection(access, self._inventory.user, self._key, tunnel)

    async def _listen(self, member: Member, connection: asyncssh.SSHClientConnection) -> None:
        is_hub = member.name in self._inventory.hubs
        self._connections[member.name] = connection
        async with connection.create_process(HUB_WORDS if is_hub else HOST_WORDS, stderr=asyncssh.DEVNULL) as process:
            pings = asyncio.create_task(self._ping(member.name, connection)) if is_hub else None
            try:
                while True:
                    self._tell(member.name, *await self._word(member.name, process.stdout, is_hub))
            finally:
                if pings:
                    pings.cancel()

    async def _word(self, name: str, stream: asyncssh.SSHReader, is_hub: bool) -> tuple[str, str]:
        """Return a machine's next word; one that takes long is silent meanwhile.

        Raises:
            OSError, TimeoutError: There comes none any more.
        """
        word = asyncio.ensure_future(self._read(stream, is_hub))
        try:
            if not (await asyncio.wait({word}, timeout=SILENCE_SECONDS))[0]:
                self._silent(name, "it does not answer")
            return await asyncio.wait_for(word, PATIENCE_SECONDS)
        finally:
            word.cancel()

    @staticmethod
    async def _read(stream: asyncssh.SSHReader, is_hub: bool) -> tuple[str, str]:
        state = await stream.readline()
        routes = await stream.readline() if is_hub else "[]"
        if not (state and routes):
            raise OSError("its connection has ended")
        return state, routes

    def _silent(self, name: str, why: str) -> None:
        self._board.silent(name, why)
        self._changed()

    def _tell(self, name: str, state: str, routes: str) -> None:
        told = json.loads(state) if state.strip() else {"reasons": ["its agent says nothing"]}
        numbers = {route["dst"]: route.get("metric", 0) for route in json.loads(routes)}
        self._board.told(name, told, numbers, time.time())
        self._changed()

    async def _ping(self, hub: str, connection: asyncssh.SSHClientConnection) -> None:
        topology = self._board.topology
        ends = [end for link in topology.links for end in ((link.listener, link.dialer), (link.dialer, link.listener))]
        peers = {peer.id: self._inventory.hubs[peer.key] for own, peer in ends if own.key == hub}
        while peers:
            done = await connection.run(ping_links(peers))
            answered = round_trips(str(done.stdout))
            self._board.measured(hub, {peer.name: answered.get(number) for number, peer in peers.items()})
            await asyncio.sleep(PING_SECONDS)
