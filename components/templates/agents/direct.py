"""The agent of direct tunnels: sends to another host without a hub where that is possible, and by hubs otherwise.

`shortcuts` decides; OpenVPN's processes are units that root begins and ends (vcubev-direct-turn). This agent writes
their options, probes, and keeps routes. It speaks to its like by one port of the overlay: by hubs, which see to it that
nobody speaks in another's name, and by the tunnels.
"""

import asyncio
import contextlib
import json
import pathlib
import re
import secrets
import signal
import socket
import struct
import sys
import time
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import means
import sizes
from metrics import replace
from notify import alive, ready
from plan import ipv6_of, place
from shortcuts import SLOTS, Shortcuts
from showing import Showing
from signals import read, write
from straight import Action, Leave, Say, Start, Stop, Tunnel, Use

CONFIG = pathlib.Path("/etc/vcubev/direct.json")
RUN = pathlib.Path("/run/vcubev-direct")
PATHS = pathlib.Path("/run/vcubev-paths/state.json")
DEVICES = pathlib.Path("/sys/class/net")
TICK_SECONDS, SLOW_TICK_SECONDS = 0.04, 0.5  # with tunnels, and without
LOOK_SECONDS = 5
MEASURE_SECONDS = 30
START_SECONDS = 5  # until a tunnel's device must be there, after the farewell of the one before it
STATE_SECONDS = 1
HUBS = 0  # their block of the overlay
MOST_A_SECOND = 40  # messages of one peer: it probes ten times a second, and answers as often
PACKET_INFO = getattr(socket, "IP_PKTINFO", 8)  # ip(7)
INFO = "=I4s4s"


class Agent:
    """Carries out what Shortcuts decides."""

    def __init__(self) -> None:
        config = self.config = json.loads(CONFIG.read_text())
        self._overlay = IPv4Network(config["overlay_ipv4"]), IPv6Network(config["overlay_ipv6"])
        self._own = config["ipv4"], config["ipv6"]
        self._ports = range(*config["ports"])
        self._sizes = (config["jumbo_mtu_bytes"], config["mtu_bytes"])
        own = int(IPv4Address(config["ipv4"]))
        where = (config["site"], config["private"], config["public"])
        self.shortcuts = Shortcuts(own, *where, self._ports, secrets.token_hex)
        self._sent: dict[int, int] = {}  # peer -> bytes, as the packet filter counted them until the last look
        self._heard: dict[int, int] = {}  # peer -> messages of this second
        self._second = 0
        self._begun: dict[int, float] = {}  # slot -> when its tunnel was asked for; gone once its device is there
        self._seen: dict[int, int] = {}  # slot -> its device
        self._before: dict[int, int] = {}  # slot -> the device of the tunnel before it, which may be there still
        self._active: str | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        means.load_filter()
        for slot in range(1, SLOTS + 1):
            self._stop(slot)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_IP, PACKET_INFO, 1)
        self._socket.bind((self.config["ipv4"], self.config["talk_port"]))
        loop.add_reader(self._socket, self._hear)
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        looking = loop.create_task(self._look())
        ready()
        showing, next_state = Showing(RUN), 0.0
        while not looking.done():
            now = time.monotonic()
            self._watch_devices(now)
            self._do(self.shortcuts.step(now))
            if now >= next_state:
                next_state = now + STATE_SECONDS
                self._find_path()
                showing.write(now, self.shortcuts)
                alive()
            await asyncio.sleep(TICK_SECONDS if self.shortcuts.tunnels else SLOW_TICK_SECONDS)
        looking.result()

    def _leave(self) -> None:
        """Let no packet go into a tunnel that is about to end."""
        for tunnel in self.shortcuts.tunnels.values():
            means.route(tunnel.slot, self._both(tunnel.peer), None)
        sys.exit(0)

    # What others say

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                text, more, _, (source, port) = self._socket.recvmsg(2048, socket.CMSG_SPACE(struct.calcsize(INFO)))
                device = next((struct.unpack(INFO, d)[0] for _, kind, d in more if kind == PACKET_INFO), 0)
                with contextlib.suppress(ValueError, OSError):
                    self._take(text, IPv4Address(source), port, socket.if_indextoname(device))

    def _take(self, text: bytes, source: IPv4Address, port: int, device: str) -> None:
        if port != self.config["talk_port"] or not self._is_host(source):
            return
        now = time.monotonic()
        if self._second != int(now):
            self._second, self._heard = int(now), {}
        count = self._heard[int(source)] = self._heard.get(int(source), 0) + 1
        if count > MOST_A_SECOND:
            return
        found = re.fullmatch(r"(path|direct)(\d)", device)
        if found:
            slot = int(found[2]) if found[1] == "direct" else 0
            self._do(self.shortcuts.heard(now, int(source), read(text, self._ports), slot))

    # What is to be done

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                self._say(action)
            elif isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Stop):
                print(f"direct tunnel {action.slot} to {IPv4Address(action.peer)} ends: {action.reason}", flush=True)
                means.know_peer("delete", action.slot, self._both(action.peer))
                self._stop(action.slot)
            elif isinstance(action, Use):
                print(f"traffic to {IPv4Address(action.peer)} goes by direct tunnel {action.slot}", flush=True)
                self._lead(self.shortcuts.tunnels[action.slot])
            elif isinstance(action, Leave):
                means.route(action.slot, self._both(action.peer), None)
                print(f"traffic to {IPv4Address(action.peer)} goes by hubs: {action.reason}", flush=True)

    def _lead(self, tunnel: Tunnel) -> None:
        means.route(tunnel.slot, self._both(tunnel.peer), self._own, tunnel.mtu_bytes or self._sizes[-1])

    def _say(self, say: Say) -> None:
        device = f"direct{say.slot}" if say.slot else self._active
        with contextlib.suppress(OSError):  # it is not there (any more)
            info = struct.pack(
                INFO, socket.if_nametoindex(device or ""), IPv4Address(self.config["ipv4"]).packed, bytes(4)
            )
            to = (str(IPv4Address(say.peer)), self.config["talk_port"])
            self._socket.sendmsg([write(say.message)], [(socket.IPPROTO_IP, PACKET_INFO, info)], 0, to)

    def _start(self, start: Start) -> None:
        peer = IPv4Address(start.peer)
        how = f"awaits it at port {start.port}" if start.listen else f"dials {start.address}:{start.port}"
        print(f"direct tunnel {start.slot} to {peer}: {how}", flush=True)
        means.know_peer("add", start.slot, self._both(start.peer))
        means.private_file(RUN / f"{start.slot}.key", means.static_key(start.secret))
        options = means.options(start.slot, peer, start.listen, start.address, start.port)
        replace(RUN / f"{start.slot}.conf", "\n".join(options) + "\n")
        self._begun[start.slot] = time.monotonic()
        self._before[start.slot] = number_of(start.slot, "ifindex")
        self._seen.pop(start.slot, None)
        means.turn("start", start.slot)

    def _stop(self, slot: int) -> None:
        self._begun.pop(slot, None)
        self._seen.pop(slot, None)
        (RUN / f"{slot}.key").unlink(missing_ok=True)
        means.turn("stop", slot)

    def _both(self, peer: int) -> tuple[IPv4Address, IPv6Address]:
        address = IPv4Address(peer)
        return address, ipv6_of(address, *self._overlay)

    def _is_host(self, address: IPv4Address) -> bool:
        return address in self._overlay[0] and place(address, self._overlay[0])[0] != HUBS

    # What it looks at

    def _watch_devices(self, now: float) -> None:
        """See tunnels' devices come and go: they are there for as long as their OpenVPN is."""
        for slot in [*self.shortcuts.tunnels]:
            device = number_of(slot, "ifindex")
            if device == self._before.get(slot):
                device = 0
            began = self._begun.get(slot)
            if device and self._seen.setdefault(slot, device) == device:
                self._begun.pop(slot, None)
                self.shortcuts.received(slot, number_of(slot, "statistics/rx_packets"))
            elif slot in self._seen or (began is not None and now - began > START_SECONDS):
                self._do(self.shortcuts.gone(now, slot))

    async def _look(self) -> None:
        """Look now and then at what was sent to whom."""
        while True:
            try:
                counted = await means.counted(*self._overlay)
            except (OSError, ValueError, KeyError, TypeError):
                print("the table of the packet filter is not there: again", flush=True)
                means.load_filter()
                for tunnel in self.shortcuts.tunnels.values():
                    means.know_peer("add", tunnel.slot, self._both(tunnel.peer))
                counted = {}
            sent = {peer: count - self._sent.get(peer, 0) for peer, count in counted.items()}
            # One that was silent for a minute is counted from nothing again.
            sent = {peer: count if count >= 0 else counted[peer] for peer, count in sent.items()}
            self._sent = counted
            hosts = {peer: count for peer, count in sent.items() if self._is_host(IPv4Address(peer))}
            self._do(self.shortcuts.talked(time.monotonic(), hosts))
            await self._measure(time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    async def _measure(self, now: float) -> None:
        """Ask now and then how large packets may be on the ways that tunnels take."""
        due = [tunnel for tunnel in self.shortcuts.tunnels.values() if now - tunnel.measured >= MEASURE_SECONDS]
        due = [tunnel for tunnel in due if tunnel.towards]
        found = await asyncio.gather(*(sizes.largest(tunnel.towards, self._sizes) for tunnel in due))
        for tunnel, size in zip(due, found, strict=True):
            tunnel.measured = now
            if size not in (None, tunnel.mtu_bytes) and self.shortcuts.tunnels.get(tunnel.slot) is tunnel:
                tunnel.mtu_bytes = size
                if tunnel.in_use:
                    self._lead(tunnel)

    def _find_path(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            active = json.loads(PATHS.read_text())["active"]
            self._active = f"path{active}" if active in (1, 2) else None


def number_of(slot: int, file: str) -> int:
    """Return what the kernel tells of a tunnel's device; 0 if there is none."""
    try:
        return int((DEVICES / f"direct{slot}" / file).read_text())
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    asyncio.run(Agent().run())
