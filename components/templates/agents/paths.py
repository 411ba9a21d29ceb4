"""The host's own agent: probes both tunnels, sends by the better, takes each to the hub that `choice` says.

The tunnels are units of their own and go on without this agent. fping measures; one route decides where traffic goes;
a claim at the hub makes traffic come back by the same tunnel.
"""

import asyncio
import contextlib
import json
import pathlib
import re
import signal
import socket
import sys
import time
from ipaddress import IPv4Address

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from choice import Choice, Open, Use
from floods import Floods
from surveying import Surveyor
from telling import Telling
from tunnels import PROBE_SECONDS, PROHIBITED, Hub, Path, tunnel_lines
from turns import Turns

CONFIG = pathlib.Path("/etc/vcubev/paths.json")
OWN_HUBS = pathlib.Path("/etc/vcubev/hubs")
KNOWN_HUBS = pathlib.Path("/var/lib/vcubev-paths/hubs.json")
RUN = pathlib.Path("/run/vcubev-paths")
TICK_SECONDS = 0.04
CLAIM_RETRY_SECONDS = 0.1
ASK_SECONDS = 10  # between two claims when all is well
TELL_SECONDS = 0.5  # between two questions, where there is news of the spare to tell
ASK_SOON_SECONDS = 1  # with one tunnel only there may be news of other hubs
STATE_SECONDS = 0.5
ROUTE_METRIC = 10

ANSWER = re.compile(r"^\S+ : \[(\d+)\], \d+ bytes, ([\d.]+) ms")


class Agent:
    """Carries out what Choice decides."""

    def __init__(self) -> None:
        self.config = json.loads(CONFIG.read_text())
        self.choice = Choice(self.config["host"], self.config["site"], int(IPv4Address(self.config["ipv4"])))
        self._surveyor = Surveyor(self.choice, (self.config["jumbo_mtu_bytes"], self.config["mtu_bytes"]))
        self._mtu_bytes = 0  # of the route, once this agent has made it
        self._probers: dict[int, asyncio.Task] = {}
        self._turns, self._floods = Turns(RUN), Floods()
        self._own_seen: list = []
        self._hash = ""
        self._claimed: tuple[int, str] | None = None  # what the hub of the tunnel in use has confirmed
        self._claim_at = self._asked = 0.0
        self._told_spare: bool | None = None  # whether the hub has heard that the other tunnel is fit for traffic
        self._nonce = 0
        self._number: int | None = None
        self.rival = False  # another machine has this host's identity, and its traffic
        self.telling = Telling(RUN)
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task] = set()

    # What it knows of hubs

    def load_hubs(self) -> None:
        """Take the hubs of the own site as the stack file has them, with what other hubs have told since."""
        files = sorted(OWN_HUBS.glob("*.json"))
        seen = [(file.name, file.stat().st_mtime) for file in files]
        if seen == self._own_seen:
            return
        hubs = {}
        # A file that a full disk cut short costs what was remembered, and no more.
        with contextlib.suppress(OSError, ValueError, TypeError):
            hubs = {hub.id: hub for hub in map(self._hub, json.loads(KNOWN_HUBS.read_text()))}
        own = {hub.id: hub for hub in (self._hub(json.loads(file.read_text())) for file in files)}
        if self._own_seen:  # a change: a hub that left the stack file is gone, a moved one has its new address
            hubs = {i: hub for i, hub in hubs.items() if hub.site != self.config["site"] or i in own}
        self._own_seen, self._hash = seen, ""
        self.choice.know([*{**hubs, **own}.values()])

    def _hub(self, told: dict) -> Hub:
        return Hub.of(told, self.config["network"])

    def adopt(self) -> None:
        """Take over tunnels that an earlier agent left running."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((RUN / "state.json").read_text())
            now = time.monotonic()
            for number, path in state["paths"].items():
                hub = next((hub for hub in self.choice.hubs.values() if hub.key == path["hub"]), None)
                if hub is not None and (RUN / f"{number}.conf").exists():
                    self.choice.paths[int(number)].open(now, hub, path["transport"], path.get("turn", 0))
                    self._probe(int(number), hub)
            self.choice.switches, self._number = state["switches"], state["number"]
            if state["active"] is not None and self.choice.paths[state["active"]].hub is not None:
                self.choice.active = state["active"]
            self.telling.adopt(state)

    # What it does

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.choice.renew)
        self.load_hubs()
        self.adopt()
        next_hubs = next_state = 0.0
        self._start(self._surveyor.run())
        self._start(self.telling.look_around())
        while True:
            now = time.monotonic()
            self._floods.look(self.choice.paths)
            for action in self.choice.step(now):
                if isinstance(action, Open):
                    self._open(action)
                else:
                    await self._use(action)
            await self._widen()
            self._turns.go_on(now)
            if now >= next_hubs:
                next_hubs = now + 5
                self.load_hubs()
            if now >= self._claim_at or (self._told_spare != self._has_spare(now) and now - self._asked > TELL_SECONDS):
                self._ask(now)
            if now >= next_state:
                next_state = now + STATE_SECONDS
                self._write()
            await asyncio.sleep(TICK_SECONDS)

    def _start(self, work) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _open(self, action: Open) -> None:
        hub, number = action.hub, action.path
        print(f"path {number}: to hub {hub.key} by {action.transport}", flush=True)
        options = tunnel_lines(number, hub, action.transport, self.choice.seat, action.turn)
        self._turns.take(time.monotonic(), number, options)
        self._probe(number, hub)
        self._write()

    async def _use(self, action: Use) -> None:
        path = self.choice.paths[action.path]
        print(f"traffic goes by path {action.path} (hub {path.hub.key}): {action.reason}", flush=True)
        await self._route(path)
        self.telling.moved(self.choice.paths[3 - action.path], path, action.reason)
        self._claimed = None
        self._claim_at = 0.0
        self._ask(time.monotonic())
        self._write()

    async def _widen(self) -> None:
        """Let packets be as large as is known by now of the way that they take, and the hub know it."""
        for path in self.choice.paths.values():
            path.mtu_bytes = self._surveyor.mtu_bytes(path)
        path = self.choice.paths.get(self.choice.active)
        # As well where an earlier agent has made the route: it may not have known of sizes.
        if path is not None and self._mtu_bytes != path.mtu_bytes:
            print(f"path {path.number}: packets of up to {path.mtu_bytes} bytes", flush=True)
            await self._route(path)
            self._ask(time.monotonic())

    async def _route(self, path: Path) -> None:
        self._mtu_bytes = self._surveyor.mtu_bytes(path)
        for family, version in (("-4", "ipv4"), ("-6", "ipv6")):
            way = f"{self.config['overlay_' + version]} dev path{path.number} src {self.config[version]}"
            route = f"{way} metric {ROUTE_METRIC} mtu {self._mtu_bytes}"
            done = await asyncio.create_subprocess_exec("ip", family, "route", "replace", *route.split())
            await done.wait()

    # Claims

    def _ask(self, now: float) -> None:
        """Claim this host's traffic at the hub of the tunnel in use, again until it answers and now and then."""
        self._claim_at = now + CLAIM_RETRY_SECONDS
        if self.choice.active is None:
            return
        path = self.choice.paths[self.choice.active]
        # Until the hub says otherwise; every answer sets the next time.
        self._nonce += 1
        self._asked, self._told_spare = now, self._has_spare(now)
        question = {"claim": True, "nonce": f"{path.number}.{self._nonce}", "hash": self._hash}
        question |= {"spare": self._told_spare, "mtu": self._mtu_bytes}
        # Past the number that it had elsewhere, which this hub may not know any more.
        question["confirmed" if self._claimed else "above"] = self._number or 0
        self._say(path, question)

    def _has_spare(self, now: float) -> bool:
        spare = self.choice.paths[3 - self.choice.active] if self.choice.active else None
        return spare is not None and spare.fit and spare.works(now)

    def _take_leave(self, before: Path) -> None:
        """Tell the hub that had the traffic: it may wait for that, and have no link by which it would hear of it."""
        if before.hub is not None:
            self._say(before, {"spare": True, "left": True, "hash": self._hash})

    def _say(self, path: Path, question: dict) -> None:
        with contextlib.suppress(OSError):
            self._claims_socket(path.number).sendto(
                json.dumps(question).encode(), (path.hub.ipv4, self.config["claims_port"])
            )

    def _claims_socket(self, number: int) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind((self.config["ipv4"], 0))
            asyncio.get_running_loop().add_reader(self._socket, self._answered)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, f"path{number}".encode())
        return self._socket

    def _answered(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            text, source = self._socket.recvfrom(65535)
            answer = json.loads(text)
            number, _, nonce = answer["nonce"].partition(".")
            path = self.choice.paths[self.choice.active]
            if int(number) != path.number or source[0] != path.hub.ipv4 or self._nonce - int(nonce) > 50:
                return
            if hubs := answer.get("hubs"):
                # Beside the list: hosts that have never heard of these take a hub for none that has another word.
                inner = answer.get("inner", {})
                hubs = [{**hub, "inner": inner.get(str(hub["id"]), "")} for hub in hubs]
                self.choice.know([*map(self._hub, hubs)])
                draft = KNOWN_HUBS.with_suffix(".new")
                draft.write_text(json.dumps(hubs))
                draft.replace(KNOWN_HUBS)
            self._hash = answer["hash"]
            if answer["number"] is not None:
                self._number = answer["number"]
                superseded = self._number < answer["elsewhere"] and self._claimed is not None
                spare = self.choice.paths[3 - path.number]
                if superseded and spare.hub and spare.hub.id == answer.get("where") and spare.steady(time.monotonic()):
                    # No rival's: it is gone, and this host's spare has its number.
                    self._claimed, self._claim_at = None, 0.0
                    return
                self._meet(superseded)
                if self._claimed is None:
                    self.telling.confirmed(time.monotonic())
                    self._take_leave(spare)
                self._claimed = (path.number, path.hub.key)
            both = all(path.works(time.monotonic()) for path in self.choice.paths.values())
            # A hub that has not heard of the spare yet may be told the same number of it.
            known = both and answer["elsewhere"] > 0
            pause = ASK_SECONDS if known and self._claimed else ASK_SOON_SECONDS
            self._claim_at = time.monotonic() + (pause if answer["number"] is not None else CLAIM_RETRY_SECONDS)

    def _meet(self, rival: bool) -> None:
        if rival != self.rival:
            told = "another machine with this host's identity came later and has its traffic: turn one of them off"
            print(told if rival else "this host has its traffic again", flush=True)
        self.rival = rival

    # Probes

    def _probe(self, number: int, hub: Hub) -> None:
        if number in self._probers:
            self._probers[number].cancel()
        self._probers[number] = self._start(self._listen(number, hub))

    async def _listen(self, number: int, hub: Hub) -> None:
        """Run fping on one tunnel for as long as it goes to this hub."""
        command = ("fping", "-l", "-p", str(round(PROBE_SECONDS * 1000)), "-t", "1000", "-S", self.config["ipv4"])
        last = 0  # probe that brought an answer
        while True:
            first = last + 1  # each fping counts from 0
            fping = await asyncio.create_subprocess_exec(
                *(*command, "-I", f"path{number}", hub.ipv4),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                while line := (await fping.stdout.readline()).decode(errors="replace"):
                    if self._turns.is_old(number):
                        continue
                    if found := ANSWER.match(line):
                        last = first + int(found[1])
                        self.choice.heard(time.monotonic(), number, last, float(found[2]) / 1000, True)
                    elif PROHIBITED in line and f"from {hub.ipv4} " in line:
                        last += 1  # it does not say which
                        self.choice.heard(time.monotonic(), number, last, None, False)
                await fping.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    fping.kill()
            await asyncio.sleep(PROBE_SECONDS)

    def _write(self) -> None:
        """Tell the world: /run/vcubev-paths."""
        self.telling.write(time.monotonic(), self.choice, self._claimed is not None, self._number, self.rival)


if __name__ == "__main__":
    asyncio.run(Agent().run())
