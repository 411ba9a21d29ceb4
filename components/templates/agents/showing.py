"""What the agent of direct tunnels tells: to people /run/vcubev-direct/state.json, to Prometheus the file beside it."""

import json
import math
import pathlib
from ipaddress import IPv4Address

from metrics import FILE, WRITE_SECONDS, page, replace, sample
from shortcuts import Shortcuts


class Showing:
    """Writes what has changed, and the page for Prometheus now and then: its age tells that the agent lives."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._written: dict = {}
        self._next_page = 0.0

    def write(self, now: float, shortcuts: Shortcuts) -> None:
        state = state_of(shortcuts)
        if state != self._written and replace(self._directory / "state.json", json.dumps(state)):
            self._written = state
        if now >= self._next_page:
            self._next_page = now + WRITE_SECONDS
            replace(self._directory / FILE, page(samples(state)))


def state_of(shortcuts: Shortcuts) -> dict:
    tunnels = {
        str(tunnel.slot): {
            "peer": str(IPv4Address(tunnel.peer)),
            "in_use": tunnel.in_use,
            "listens": tunnel.listens,
            "rtt_ms": round(tunnel.path.rtt_seconds * 1000, 2) if tunnel.path.rtt_seconds < math.inf else None,
            "loss": round(tunnel.path.loss, 3),
            "mtu_bytes": tunnel.mtu_bytes,
        }
        for tunnel in shortcuts.tunnels.values()
    }
    return {"tunnels": tunnels, "counts": dict(shortcuts.counts)}


def samples(state: dict) -> list[str]:
    """Return the same for Prometheus."""
    tunnels = [state["tunnels"][number] for number in sorted(state["tunnels"])]
    return [
        *(sample("vcubev_direct_in_use", one["in_use"], peer=one["peer"]) for one in tunnels),
        *(
            sample("vcubev_direct_rtt_seconds", one["rtt_ms"] / 1000, peer=one["peer"])
            for one in tunnels
            if one["rtt_ms"] is not None
        ),
        *(sample("vcubev_direct_events_total", count, what=what) for what, count in state["counts"].items()),
    ]
