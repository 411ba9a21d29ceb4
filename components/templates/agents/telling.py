"""What a host's agent tells: to people /run/vcubev-paths/state.json, to Prometheus the file beside it."""

import asyncio
import json
import pathlib
import time

import counters
import validity
from choice import Choice
from metrics import FILE, WRITE_SECONDS, end_samples, filter_samples, page, replace, sample
from tunnels import Path

NEVER = -float("inf")
# Told from the beginning: of a counter that is not there yet, Prometheus sees no first step.
REASONS = ("better", "lossy", "not fit", "removed", "renewed", "silent")


class Telling:
    """Remembers moves, and writes all of it when it has changed."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self.moves: dict[str, int] = {}  # reason -> how often
        self.since: float | None = None  # when traffic took its present way, epoch seconds
        self.last_move: dict | None = None
        self._silent_since = NEVER  # monotonic: the old tunnel's last answer, until the new hub confirms
        self._counted, self._ends = {}, {}
        self._written, self._next_page = {}, NEVER

    def adopt(self, state: dict) -> None:
        """Go on from what an earlier agent told.

        Raises:
            KeyError, TypeError: It told nothing of this.
        """
        self.moves, self.since, self.last_move = dict(state["moves"]), state["since"], state["last_move"]

    def moved(self, old: Path, new: Path, reason: str) -> None:
        """Take down that traffic goes by another path now.

        Args:
            old: The path that it went by, or might have.
            new: The path that it goes by.
        """
        self.since = round(time.time(), 3)
        self._silent_since = old.answered if reason == "silent" else NEVER
        if reason == "first":
            return
        self.moves[reason] = self.moves.get(reason, 0) + 1
        hubs = {"from": old.hub and old.hub.key, "to": new.hub and new.hub.key}
        self.last_move = {"at": self.since, **hubs, "reason": reason, "outage_ms": None}

    def confirmed(self, now: float) -> None:
        """The hub of the tunnel in use has made way for this host's traffic."""
        if self._silent_since != NEVER and self.last_move is not None:
            self.last_move = {**self.last_move, "outage_ms": round((now - self._silent_since) * 1000)}
        self._silent_since = NEVER

    async def look_around(self) -> None:
        """Look now and then at what changes by itself: the packet filter's counters, the certificates."""
        while True:
            self._ends = validity.ends()
            self._counted = await counters.look()
            await asyncio.sleep(counters.LOOK_SECONDS)

    def write(self, now: float, choice: Choice, claimed: bool, number: int | None, rival: bool) -> None:
        state = self.state(now, choice, claimed, number, rival)
        if state != self._written and replace(self._directory / "state.json", json.dumps(state)):
            self._written = state
        if now >= self._next_page:
            self._next_page = now + WRITE_SECONDS
            replace(self._directory / FILE, self.page(state))

    def state(self, now: float, choice: Choice, claimed: bool, number: int | None, rival: bool) -> dict:
        paths = {
            str(path.number): {
                "hub": path.hub.key if path.hub else None,
                "transport": path.transport,
                "turn": path.turn,
                "alive": path.works(now),
                "fit": path.fit,
                "stale": path.stale,
                "rtt_ms": round(path.rtt_seconds * 1000, 3) if path.rtt_seconds < 60 else None,
                "loss": round(path.loss, 3),
                "endpoint": path.hub and path.hub.door(path.transport, choice.seat, path.turn)[0],
                "mtu_bytes": path.mtu_bytes,
            }
            for path in choice.paths.values()
        }
        surveyed = {
            choice.hubs[at].key: {"rtt_ms": seen.rtt_seconds and round(seen.rtt_seconds * 1000, 3), "fit": seen.fit}
            for at, seen in sorted(choice.survey.items())
            if at in choice.hubs
        }
        return {
            "active": choice.active,
            "claimed": claimed,
            "number": number,
            "rival": rival,
            "switches": choice.switches,
            "paths": paths,
            "hubs": surveyed,
            "since": self.since,
            "moves": self.moves,
            "last_move": self.last_move,
            "ends": self._ends,
            "counted": self._counted,
        }

    @staticmethod
    def page(state: dict) -> str:
        """Return the same for Prometheus."""
        samples = [
            sample("vcubev_host_claimed", state["claimed"]),
            sample("vcubev_host_rival", state["rival"]),
            *(sample("vcubev_failovers_total", state["moves"].get(why, 0), reason=why) for why in REASONS),
            *end_samples(state["ends"]),
            *filter_samples(state["counted"]),
        ]
        if last := state["last_move"]:
            samples.append(sample("vcubev_last_failover_seconds", last["at"]))
            if last["outage_ms"] is not None:
                samples.append(sample("vcubev_last_outage_seconds", last["outage_ms"] / 1000))
        for number, path in sorted(state["paths"].items()):
            # A tunnel that looks for a hub is one that is down.
            of = {"path": number, "hub": path["hub"] or "", "transport": path["transport"]}
            samples.append(sample("vcubev_path_up", path["alive"], **of))
            samples.append(sample("vcubev_path_active", str(state["active"]) == number, **of))
            samples.append(sample("vcubev_path_loss_ratio", float(path["loss"]), **of))
            if path["rtt_ms"] is not None:
                samples.append(sample("vcubev_path_rtt_seconds", path["rtt_ms"] / 1000, **of))
        for hub, seen in state["hubs"].items():
            if seen["rtt_ms"] is not None:
                samples.append(sample("vcubev_hub_rtt_seconds", seen["rtt_ms"] / 1000, hub=hub))
        return page(samples)
