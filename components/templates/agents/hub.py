"""The hub's own agent: takes hosts' claims, tells them of all hubs, and says when this hub is not fit to carry them.

A host asks by UDP through its tunnel, so its source address is the one in its certificate: OpenVPN has seen to that.
A claim moves the host's mobility number past all others (RFC 7432 section 15); BIRD carries it to the other hubs.

A hub that is draining, has no BIRD, or is cut off from all other hubs answers pings with "administratively
prohibited" (RFC 1812 section 5.2.7.1) and goes on carrying what comes. No answer at all would say that it is dead.
"""

import asyncio
import contextlib
import hashlib
import json
import pathlib
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv4Network

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import counters
import doors
from bird import Bird
from claiming import Claiming
from ends import Ends
from guests import Guests
from kernel import Table
from metrics import FILE, WRITE_SECONDS, end_samples, filter_samples, page, replace, sample
from notify import ready
from sessions import ESTABLISHED, links
from widths import Widths

CONFIG = pathlib.Path("/etc/vcubev/hub.json")
HUBS = pathlib.Path("/etc/vcubev/hubs")
RUN = pathlib.Path("/run/vcubev-hub")
STATE = RUN / "state.json"
DRAINING = (pathlib.Path("/var/lib/vcubev/draining"), RUN / "leaving", RUN / "rolling")
LONGEST_QUESTION = 512
LOOK_SECONDS = 0.1
BIRD_SECONDS = 0.5  # between two looks at the routing sessions
CUT_OFF_SECONDS = 3  # all sessions down for so long, where there are at least two
SETTLE_SECONDS = 0.5  # from the first session to fit: routes need a moment
LONELY_SECONDS = 5  # a hub that no other answers becomes fit on its own after so long
UNFIT = """table inet vcubev_unfit
delete table inet vcubev_unfit
table inet vcubev_unfit {
  chain input {
    type filter hook input priority filter - 10; policy accept;
    ip protocol icmp icmp type echo-request reject with icmp type admin-prohibited
  }
}
"""
FIT = "table inet vcubev_unfit\ndelete table inet vcubev_unfit\n"


class Hub:
    """What this hub knows and tells."""

    def __init__(self) -> None:
        config = json.loads(CONFIG.read_text())
        self.address = config["ipv4"]
        self.port = config["claims_port"]
        self.table = Table(config["hosts_table"])
        self.overlay4 = IPv4Network(config["overlay_ipv4"])
        self.claiming = Claiming(self.table, config)
        self.widths = Widths(config)
        self.bird = Bird()
        self.ends, self.guests = Ends(), Guests()
        self.hubs, self.hubs_hash, self._seen = [], "", None
        self.inner: dict[str, str] = {}  # number of a hub -> its address in the network of its site
        self.fit: bool | None = None
        self.reasons: list[str] = []
        self.sessions = self.peers = 0
        self.links: list[dict] = []
        self.counted: dict[str, dict[str, int]] = {}
        self._started = time.monotonic()
        self._session_since: float | None = None
        self._connected_at = self._started  # when a routing session was last up
        self._has_bird = False
        self._drained = False
        self._served = False  # it has been fit since this BIRD began: a session more or less is no joining
        self._next_bird = 0.0
        self._counts = (0, 0, 0)
        self._doors: dict[str, int] = {}  # door -> how many hosts have a tunnel by it
        self._shut: list[str] = []  # doors that nobody serves
        self._written, self._next_page = {}, 0.0

    def look(self) -> None:
        """Find out whether this hub is fit, and tell those who ping it if that has changed."""
        now = time.monotonic()
        draining = any(path.exists() for path in DRAINING)
        if self._drained and not draining:
            # Meanwhile its links may have been restarted, and nobody was here whom it would hurt: it joins anew.
            self._served, self._started, self._next_bird = False, now, now
        self._drained = draining
        if now >= self._next_bird:
            self._next_bird = now + BIRD_SECONDS
            self._look_at_bird(now)
            self._load_hubs()
            self.ends.look()
            self._shut = doors.shut()
        elif self._has_bird and self.bird.ask("show status") is None:
            self._has_bird, self._session_since = False, None
        if draining:
            self._counts = self._carried()
        self.reasons = ["draining"] * draining + ["no revocation list"] * self.ends.missing + self._unfit(now)
        fit = not self.reasons
        if fit != self.fit:
            subprocess.run(["nft", "-f", "-"], input=FIT if fit else UNFIT, text=True, check=True)
            self.fit = fit
            print("fit" if fit else f"not fit: {', '.join(self.reasons)}", flush=True)
        self._write(draining)

    def _unfit(self, now: float) -> list[str]:
        if not self._has_bird:
            return ["no BIRD"]
        if not self._served:
            alone = self.peers == 0 or (self._session_since is None and now - self._started >= LONELY_SECONDS)
            if not alone and (self._session_since is None or now - self._session_since < SETTLE_SECONDS):
                return ["joining"]
            self._served = True
        # With one peer only, all hosts have tunnels to both hubs, and what the two say to each other is of no matter.
        return ["cut off"] if self.peers > 1 and now - self._connected_at > CUT_OFF_SECONDS else []

    def _look_at_bird(self, now: float) -> None:
        answer = self.bird.ask("show protocols")
        if answer is not None and not self._has_bird:
            self._started, self._served = now, False
        first, self._has_bird = self._session_since is None and self.fit is None, answer is not None
        self.links = links(answer or "", self.bird.ask("show bfd sessions") or "", self.hubs)
        self.peers = len(self.links)
        self.sessions = sum(link["bgp"] == ESTABLISHED for link in self.links)
        if self.sessions or self.peers == 0:
            self._connected_at = now
        if self.sessions:
            if self._session_since is None:
                # An agent that comes back finds the sessions as they were; hosts need not move for it.
                self._session_since = now - SETTLE_SECONDS if first else now
        else:
            self._session_since = None
        self._counts = self._carried()

    def _carried(self) -> tuple[int, int, int]:
        """Return how many hosts have their traffic here, how many of these can't go, how many have a tunnel here."""
        answer = self.bird.ask("show route table master4 protocol hosts_kernel4") or ""
        self._doors = doors.counted(answer)
        here = self.guests.here(answer)
        return len(here), self.guests.stranded(time.monotonic(), here), answer.count("[hosts_kernel4")

    def _load_hubs(self) -> None:
        files = sorted(HUBS.glob("*.json"))
        seen = [(file.name, file.stat().st_mtime_ns) for file in files]
        if seen == self._seen:
            return
        self._seen = seen
        self.hubs = sorted((json.loads(file.read_text()) for file in files), key=lambda hub: hub["id"])
        # Told apart: a host that has never heard of it would take none of these for a hub.
        self.inner = {str(hub["id"]): inner for hub in self.hubs if (inner := hub.pop("inner", ""))}
        self.hubs_hash = hashlib.sha256(json.dumps([self.hubs, self.inner]).encode()).hexdigest()[:16]

    def _write(self, draining: bool) -> None:
        preferred, stranded, carried = self._counts
        state = {
            "fit": int(bool(self.fit)),
            "draining": int(draining and not self.fit),
            "reasons": self.reasons,
            "preferred": preferred,
            "stranded": stranded,
            "carried": carried,
            "sessions": self.sessions,
            "peers": self.peers,
            "transports": doors.by_transport(self._doors),
            "doors": self._doors,
            "shut": self._shut,
            "links": self.links,
            "ends": self.ends.ends,
            "counted": self.counted,
        }
        # Only told: with no room for it, hosts' claims are still to be answered.
        if state != self._written and replace(STATE, json.dumps(state)):
            self._written = state
        if (now := time.monotonic()) >= self._next_page:
            self._next_page = now + WRITE_SECONDS
            replace(STATE.with_name(FILE), self.page(state))

    def page(self, state: dict) -> str:
        """Return the same for Prometheus."""
        samples = [
            sample("vcubev_hub_fit", state["fit"]),
            sample("vcubev_hub_draining", state["draining"]),
            sample("vcubev_revoked_certificates", self.ends.revoked),
            *(sample("vcubev_hub_hosts", state[kind], kind=kind) for kind in ("carried", "preferred")),
            *(
                sample("vcubev_hub_openvpn_sessions", count, transport=doors.transport(door), door=door)
                for door, count in state["doors"].items()
            ),
            *(sample("vcubev_hub_door_open", door not in state["shut"], door=door) for door in state["doors"]),
            *(sample("vcubev_hub_sessions", state[kind], kind=kind) for kind in ("peers", "sessions")),
            *end_samples(state["ends"]),
            *filter_samples(state["counted"]),
        ]
        for link in state["links"]:
            peer = link["peer"] or f"hub {link['id']}"
            samples.append(sample("vcubev_link_bgp_up", link["bgp"] == ESTABLISHED, peer=peer))
            samples.append(sample("vcubev_link_bfd_up", link["bfd"] == "Up", peer=peer))
            if link["since"] is not None:
                samples.append(sample("vcubev_link_since_seconds", link["since"], peer=peer))
        return page(samples)

    async def count(self) -> None:
        """Look now and then at what the packet filter has counted."""
        while True:
            self.counted = await counters.look()
            await asyncio.sleep(counters.LOOK_SECONDS)

    def answer(self, text: bytes, source: str) -> bytes | None:
        """Take a host's question, and its claim if it makes one.

        Raises:
            ValueError, AttributeError: It is none.
        """
        if len(text) > LONGEST_QUESTION:
            return None
        question = json.loads(text)
        address = IPv4Address(source)
        if address not in self.overlay4:
            return None
        self.guests.hear(time.monotonic(), address, question)
        claims = question.get("claim") is True
        number, elsewhere, where = self.claiming.take(self.bird, address, question) if claims else (None, 0, 0)
        answer = {"nonce": str(question.get("nonce", ""))[:32], "number": number, "hash": self.hubs_hash}
        answer["elsewhere"], answer["where"] = elsewhere, where
        if question.get("hash") != self.hubs_hash:
            answer["hubs"], answer["inner"] = self.hubs, self.inner
        return json.dumps(answer).encode()


class Claims(asyncio.DatagramProtocol):
    """The socket at which hosts ask."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, text: bytes, source: tuple[str, int]) -> None:
        # Whatever a host sends, the next one is served.
        with contextlib.suppress(ValueError, AttributeError):
            if (answer := self._hub.answer(text, source[0])) is not None:
                self._transport.sendto(answer, source)


async def main() -> None:
    hub = Hub()
    hub.look()
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: Claims(hub), local_addr=(hub.address, hub.port))
    loop = asyncio.get_running_loop()
    work = [loop.create_task(hub.count()), loop.create_task(hub.widths.follow(hub))]
    ready()
    while not any(task.done() for task in work):  # none ever ends
        await asyncio.sleep(LOOK_SECONDS)
        hub.look()


if __name__ == "__main__":
    asyncio.run(main())
