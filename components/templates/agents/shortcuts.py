"""Which tunnels a host has to other hosts, and which of them carry traffic. Pure: no clock, no network, no randomness.

A tunnel is only ever a better way than by hubs: at the first doubt traffic goes by hubs, and a tunnel whose peer hubs
carry no more (its certificate is revoked, say) ends. Each end decides for itself what it sends by it.
"""

import math
from collections.abc import Callable

from arranging import Arranging, Place
from signals import Answer, Ask, Echo, End, Hello, Here, Message, Offer, Probe
from straight import SETTLE_SECONDS, Action, Leave, Say, Start, Stop, Tunnel, Use
from tunnels import PROBE_SECONDS

SLOTS = 8  # tunnels of a host
PORTS_OF_A_SLOT = 4  # used in turn, so that a tunnel never meets what was meant for the one before it
MUCH_BYTES = 1_000_000  # sent to one host between two looks: worth a tunnel
LITTLE_BYTES = 100_000  # less than that, between two looks, is no use
VOUCH_SECONDS = 6  # with no word from the peer by hubs: longer than a fail-over, shorter than patience
HELLO_SECONDS = 1
OPEN_SECONDS = 10  # until it carries traffic, or carries it again
LONGEST_SETTLE_SECONDS = 60  # it doubles with each failure of the same tunnel
STEADY_SECONDS = 60  # after which a failure counts as the first


class Shortcuts:
    """What to do, as time and messages come."""

    def __init__(
        self, own: int, site: str, private: str, public: str, ports: range, draw: Callable[[int], str]
    ) -> None:
        """Begin with no tunnel.

        Args:
            own: This host's IPv4 address in the overlay.
            private: Its addresses on the underlay; "" for none.
            ports: At which it awaits others.
            draw: Returns so many random bytes in hexadecimal.
        """
        self.own, self._ports, self._draw = own, ports, draw
        self.tunnels: dict[int, Tunnel] = {}  # by slot
        self.arranging = Arranging(own, Place(site, private, public), draw)
        self._turns = dict.fromkeys(range(1, SLOTS + 1), 0)
        self._stepped = math.inf
        self.counts = {"used": 0, "failed": 0, "left": 0}

    # What it hears

    def talked(self, now: float, sent: dict[int, int]) -> list[Action]:
        """Take how many bytes went to whom since the last look."""
        for tunnel in self.tunnels.values():
            if sent.get(tunnel.peer, 0) >= LITTLE_BYTES:
                tunnel.busy = now
        actions: list[Action] = []
        for peer, count in sorted(sent.items(), key=lambda one: -one[1]):
            if count >= MUCH_BYTES and peer != self.own and self._of(peer) is None and self._free() is not None:
                room = len(self.tunnels) + len(self.arranging.asked) < SLOTS
                if room and (ask := self.arranging.want(now, peer)):
                    actions.append(Say(peer, ask))
        return actions

    def heard(self, now: float, peer: int, message: Message, slot: int = 0) -> list[Action]:
        """Take a message.

        Args:
            peer: Whose address it comes from. Hubs see to that, and so does the tunnel.
            slot: The tunnel that it came by; 0: by hubs.
        """
        tunnel = self._of(peer)
        if slot:
            return self._by_tunnel(now, tunnel, message) if tunnel and tunnel.slot == slot else []
        if isinstance(message, Ask):
            return self._asked(now, peer, message, tunnel)
        if isinstance(message, Answer):
            return self._answered(now, peer, message)
        if isinstance(message, Hello):
            have = tunnel is not None and tunnel.nonce == message.nonce
            here = Here(message.nonce, have, have and tunnel.idle(now))
            return [*self._vouched(now, tunnel, message), Say(peer, here)]
        if isinstance(message, Offer):
            return self._offered(now, peer, message)
        if tunnel is None or message.nonce != tunnel.nonce:
            return []
        if isinstance(message, End):
            return self._end(now, tunnel, "the other end has ended it", failed=now - tunnel.began < OPEN_SECONDS)
        if isinstance(message, Here):
            return self._here(now, tunnel, message)
        return []

    def received(self, slot: int, packets: int) -> None:
        """Take how many packets have come by a tunnel's device."""
        if slot in self.tunnels:
            self.tunnels[slot].received = packets

    def gone(self, now: float, slot: int) -> list[Action]:
        """Take that a tunnel's device is no more."""
        tunnel = self.tunnels.get(slot)
        return self._end(now, tunnel, "its OpenVPN has ended", failed=True) if tunnel else []

    def step(self, now: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        late, self._stepped = now - self._stepped - PROBE_SECONDS, now
        for tunnel in [*self.tunnels.values()]:
            tunnel.path.excuse(late)
            actions += self._step(now, tunnel)
        return actions + [Say(peer, ask) for peer, ask in self.arranging.again(now)]

    # What it does

    def _step(self, now: float, tunnel: Tunnel) -> list[Action]:
        if now - tunnel.vouched > VOUCH_SECONDS:
            return self._end(now, tunnel, "no hub brings word of the other end", failed=True)
        if tunnel.idle(now) and tunnel.peer_idle:
            return self._end(now, tunnel, "idle")
        actions: list[Action] = []
        if tunnel.in_use and tunnel.path.dead(now):
            young = now - tunnel.changed < STEADY_SECONDS
            tunnel.settle = min(LONGEST_SETTLE_SECONDS, 2 * tunnel.settle) if young else 2 * SETTLE_SECONDS
            tunnel.in_use, tunnel.changed = False, now
            tunnel.begin_again(now)
            self.counts["left"] += 1
            actions.append(Leave(tunnel.slot, tunnel.peer, "silent"))
        elif not tunnel.in_use:
            if tunnel.path.works(now):
                tunnel.well_since = min(tunnel.well_since, now)
            elif tunnel.path.dead(now):
                tunnel.begin_again(now)
            if now - tunnel.well_since >= tunnel.settle:
                tunnel.in_use, tunnel.changed = True, now
                self.counts["used"] += 1
                self.arranging.succeeded(tunnel.peer)
                actions.append(Use(tunnel.slot, tunnel.peer))
            elif now - max(tunnel.heard, tunnel.changed, tunnel.began) > OPEN_SECONDS:
                return self._end(now, tunnel, "no answer by it", failed=True)
        if now >= tunnel.next_probe:
            tunnel.next_probe = max(tunnel.next_probe + PROBE_SECONDS, now)
            tunnel.sent += 1
            tunnel.probes[tunnel.sent] = now
            tunnel.probes.pop(tunnel.sent - 50, None)
            probe = Probe(tunnel.nonce, tunnel.sent, tunnel.received)
            actions.append(Say(tunnel.peer, probe, tunnel.slot))
        if now >= tunnel.next_hello:
            tunnel.next_hello = now + HELLO_SECONDS
            actions.append(Say(tunnel.peer, Hello(tunnel.nonce, tunnel.idle(now))))
        return actions

    def _by_tunnel(self, now: float, tunnel: Tunnel, message: Message) -> list[Action]:
        if message.nonce != tunnel.nonce:
            return []
        if isinstance(message, Probe):
            # Of a device that is sent more than it takes, most probes are lost; a hub would not take more.
            if message.received > tunnel.peer_received and now - tunnel.path.answered >= PROBE_SECONDS:
                tunnel.heard = now
                tunnel.path.heard(now, tunnel.sent, None, True)
            tunnel.peer_received = message.received
            return [Say(tunnel.peer, Echo(tunnel.nonce, message.number), tunnel.slot)]
        if isinstance(message, Echo) and (sent := tunnel.probes.pop(message.number, None)) is not None:
            tunnel.heard = now
            tunnel.path.heard(now, message.number, now - sent, True)
        return []

    def _asked(self, now: float, peer: int, ask: Ask, tunnel: Tunnel | None) -> list[Action]:
        if tunnel is not None and tunnel.nonce == ask.nonce:  # it has not heard the answer
            way = (
                ("dial", self.arranging.told(tunnel.peer), tunnel.port, tunnel.secret)
                if tunnel.listens
                else ("listen",)
            )
            return [Say(peer, Answer(ask.nonce, *way))]
        actions: list[Action] = []
        if tunnel is not None:
            if now - tunnel.began < HELLO_SECONDS:  # both asked at once
                return []
            # One that does so again and again waits as if it had failed.
            actions += self._end(now, tunnel, "the other end begins anew", failed=now - tunnel.began < OPEN_SECONDS)
        slot = self._free()
        way = self.arranging.judge(now, peer, ask, slot is not None)
        if way is None:
            return actions
        if way.way == "dial" and slot is not None:
            tunnel, start = self._begin(now, slot, peer, ask.nonce, listens=True, offers=False)
            # By the site's own network: whoever comes from outside may do so by another address than it tells.
            tunnel.towards = ask.private if way.address == self.arranging.own.private else ""
            return [*actions, start, Say(peer, Answer(ask.nonce, "dial", way.address, tunnel.port, tunnel.secret))]
        return [*actions, Say(peer, Answer(ask.nonce, way.way))]

    def _answered(self, now: float, peer: int, answer: Answer) -> list[Action]:
        asked = self.arranging.take(peer, answer.nonce)
        if asked is None:
            return []
        slot = self._free()
        if answer.way == "none" or slot is None or self._of(peer) is not None:
            self.arranging.avoid(now, peer, never=answer.way == "none")
            return []
        if answer.way == "dial":
            told = (answer.address, answer.port, answer.secret)
            return [self._begin(now, slot, peer, answer.nonce, False, False, *told)[1]]
        if not self.arranging.own.public:
            self.arranging.avoid(now, peer)
            return []
        tunnel, start = self._begin(now, slot, peer, answer.nonce, listens=True, offers=True)
        return [start, self._offer(tunnel)]

    def _offered(self, now: float, peer: int, offer: Offer) -> list[Action]:
        slot = self._free()
        if slot is None or self._of(peer) is not None or not self.arranging.expects(now, peer, offer.nonce):
            return []
        told = (offer.address, offer.port, offer.secret)
        return [self._begin(now, slot, peer, offer.nonce, False, False, *told)[1]]

    def _offer(self, tunnel: Tunnel) -> Say:
        return Say(tunnel.peer, Offer(tunnel.nonce, self.arranging.own.public, tunnel.port, tunnel.secret))

    def _here(self, now: float, tunnel: Tunnel, here: Here) -> list[Action]:
        actions = self._vouched(now, tunnel, here)
        if not here.have:
            if tunnel.offers and now - tunnel.began < OPEN_SECONDS:
                return [*actions, self._offer(tunnel)]
            if now - tunnel.began > 3 * HELLO_SECONDS:
                return self._end(now, tunnel, "the other end has none", failed=not tunnel.in_use)
        return actions

    def _vouched(self, now: float, tunnel: Tunnel | None, word: Hello | Here) -> list[Action]:
        if tunnel is not None and tunnel.nonce == word.nonce:
            tunnel.vouched, tunnel.peer_idle = now, word.idle
        return []

    def _begin(
        self,
        now: float,
        slot: int,
        peer: int,
        nonce: str,
        listens: bool,
        offers: bool,
        address: str = "",
        port: int = 0,
        secret: str = "",
    ) -> tuple[Tunnel, Start]:
        if listens:
            self._turns[slot] += 1
            port = self._ports[(slot - 1) * PORTS_OF_A_SLOT + self._turns[slot] % PORTS_OF_A_SLOT]
            secret = self._draw(32)
        tunnel = Tunnel(slot, peer, nonce, listens, offers, address, port, secret, began=now, vouched=now, busy=now)
        tunnel.path.open(now, None, "udp")
        tunnel.towards = address
        self.tunnels[slot] = tunnel
        self.arranging.begun(peer)
        return tunnel, Start(slot, peer, listens, address, port, secret)

    def _end(self, now: float, tunnel: Tunnel, reason: str, failed: bool = False) -> list[Action]:
        del self.tunnels[tunnel.slot]
        actions: list[Action] = [Leave(tunnel.slot, tunnel.peer, reason)] if tunnel.in_use else []
        if failed:
            self.counts["failed"] += 1
            self.arranging.avoid(now, tunnel.peer)
        return [*actions, Stop(tunnel.slot, tunnel.peer, reason), Say(tunnel.peer, End(tunnel.nonce))]

    def _of(self, peer: int) -> Tunnel | None:
        return next((tunnel for tunnel in self.tunnels.values() if tunnel.peer == peer), None)

    def _free(self) -> int | None:
        return next((slot for slot in range(1, SLOTS + 1) if slot not in self.tunnels), None)
