"""What the agent of direct tunnels tells: to people /run/vcubev-direct/state.json, to Prometheus the file beside it."""

import json
import math
import pathlib
from ipaddress import IPv4Address

from metrics import COUNTER, FILE, GAUGE, WRITE_SECONDS, replace
from shortcuts import Shortcuts

# As in metrics.py, for who has these tunnels.
KINDS = {
    "vcubev_direct_in_use": (GAUGE, "Whether a tunnel to another host carries what is sent to it."),
    "vcubev_direct_rtt_seconds": (GAUGE, "Round trip to another host by the tunnel to it, smoothed."),
    "vcubev_direct_events_total": (
        COUNTER,
        "Tunnels to other hosts that came into use (used), went out of it by themselves (left), or never did (failed).",
    ),
}


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
            replace(self._directory / FILE, page(state))


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


def page(state: dict) -> str:
    """Return the same for Prometheus."""
    tunnels = [state["tunnels"][number] for number in sorted(state["tunnels"])]
    values = {
        "vcubev_direct_in_use": [(f'peer="{one["peer"]}"', int(one["in_use"])) for one in tunnels],
        "vcubev_direct_rtt_seconds": [
            (f'peer="{one["peer"]}"', one["rtt_ms"] / 1000) for one in tunnels if one["rtt_ms"] is not None
        ],
        "vcubev_direct_events_total": [(f'what="{what}"', count) for what, count in sorted(state["counts"].items())],
    }
    lines = []
    for name, samples in values.items():
        kind, told = KINDS[name]
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"] if samples else []
        lines += [f"{name}{{{labels}}} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"
