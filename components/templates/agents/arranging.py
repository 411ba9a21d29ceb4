"""How two hosts come to a tunnel: who asks, which of the two awaits the other, and when not to ask. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from signals import Answer, Ask

ASK_SECONDS = 1  # until it is asked again
MOST_ASKS = 3
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10, 1800
RARELY_SECONDS = 600  # where the two have no way to each other
EXPECT_SECONDS = 5  # an offer, by the one who was told to listen
MOST_KNOWN = 1024  # peers that are avoided


@dataclass(frozen=True)
class Place:
    """Where a host is on the underlay."""

    site: str
    private: str
    public: str


@dataclass
class Asked:
    ask: Ask
    at: float
    times: int = 1


@dataclass
class Refused:
    """A peer that no tunnel came to."""

    until: float
    pause: float
    failures: int


def ways(asker: Place, asked: Place) -> list[Answer]:
    """Return what the one that asks can be told, best first; without nonce, port and secret."""
    found = []
    if asker.site == asked.site and asker.private and asked.private:
        found.append(asked.private)
    if asked.public:
        found.append(asked.public)
    answers = [Answer("", "dial", address) for address in found]
    return [*answers, Answer("", "listen")] if asker.public else answers


class Arranging:
    """Who was asked, who is awaited, who is avoided; times are monotonic seconds."""

    def __init__(self, address: int, own: Place, draw: Callable[[int], str]) -> None:
        self._address, self.own, self._draw = address, own, draw
        self.asked: dict[int, Asked] = {}
        self.refused: dict[int, Refused] = {}
        self._expected: dict[int, tuple[str, float]] = {}  # peer -> nonce, until when
        self._told: dict[int, str] = {}  # peer -> at which address it was told to find this host

    def want(self, now: float, peer: int) -> Ask | None:
        """Return what to ask a peer; None if it was asked, or is avoided."""
        known = self.refused.get(peer)
        if peer in self.asked or peer in self._expected or (known and now < known.until):
            return None
        place = (self.own.site, self.own.private, self.own.public)
        ask = Ask(self._draw(8), *place, known.failures if known else 0)
        self.asked[peer] = Asked(ask, now)
        return ask

    def again(self, now: float) -> list[tuple[int, Ask]]:
        """Return what to ask again; whoever does not answer is avoided."""
        due = []
        for peer, asked in [*self.asked.items()]:
            if now - asked.at < ASK_SECONDS:
                continue
            if asked.times >= MOST_ASKS:
                del self.asked[peer]
                self.avoid(now, peer)
                continue
            asked.at, asked.times = now, asked.times + 1
            due.append((peer, asked.ask))
        self._expected = {peer: one for peer, one in self._expected.items() if now < one[1]}
        return due

    def take(self, peer: int, nonce: str) -> Asked | None:
        """Return what was asked, if this answers it; it is done with that."""
        asked = self.asked.get(peer)
        return self.asked.pop(peer) if asked and asked.ask.nonce == nonce else None

    def judge(self, now: float, peer: int, ask: Ask, room: bool) -> Answer | None:
        """Return what to answer, less what a tunnel adds; None for silence."""
        if peer in self.asked:
            if self._address < peer:  # both ask: it answers this host's
                return None
            del self.asked[peer]
        known = self.refused.get(peer)
        # It counts its own pause, which began a moment later or sooner.
        if (known and now < known.until - known.pause / 2) or not room:
            return None
        found = ways(Place(ask.site, ask.private, ask.public), self.own)
        if not found:
            return Answer("", "none")
        chosen = found[ask.turn % len(found)]
        if chosen.way == "listen":
            self._expected[peer] = (ask.nonce, now + EXPECT_SECONDS)
        else:
            self._told[peer] = chosen.address
        return chosen

    def told(self, peer: int) -> str:
        return self._told[peer]

    def expects(self, now: float, peer: int, nonce: str) -> bool:
        expected = self._expected.get(peer)
        return expected is not None and expected[0] == nonce and now < expected[1]

    def begun(self, peer: int) -> None:
        self.asked.pop(peer, None)
        self._expected.pop(peer, None)

    def succeeded(self, peer: int) -> None:
        if peer in self.refused:
            self.refused[peer].pause = FIRST_PAUSE_SECONDS / 2

    def avoid(self, now: float, peer: int, never: bool = False) -> None:
        """Leave a peer alone for a while that doubles each time.

        Args:
            never: There is no way to it.
        """
        known = self.refused.get(peer)
        pause = min(LONGEST_PAUSE_SECONDS, 2 * known.pause) if known else FIRST_PAUSE_SECONDS
        pause = max(pause, RARELY_SECONDS) if never else pause
        self.refused.pop(peer, None)
        self.refused[peer] = Refused(now + pause, pause, known.failures + 1 if known else 1)
        while len(self.refused) > MOST_KNOWN:
            del self.refused[next(iter(self.refused))]
