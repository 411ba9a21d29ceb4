"""What Prometheus may read of the agents: names, kinds and words, and the file for node_exporter's textfile collector.

Every metric that an agent writes stands here; so the board and the alert rules in monitoring/ can be held to it.
"""

import contextlib
import pathlib

FILE = "vcubev.prom"
WRITE_SECONDS = 5  # at the latest: the file's age tells whether the agent lives
GAUGE, COUNTER = "gauge", "counter"
KINDS = {
    # of both
    "vcubev_end_seconds": (GAUGE, "When certificate, authority and revocation list end, in epoch seconds."),
    "vcubev_filter_packets_total": (COUNTER, "Packets that counting rules of the packet filter met, by what they do."),
    # of a hub
    "vcubev_revoked_certificates": (GAUGE, "How many certificates this hub refuses by its list."),
    "vcubev_hub_fit": (GAUGE, "Whether this hub takes hosts."),
    "vcubev_hub_draining": (GAUGE, "Whether this hub is drained: hosts leave it, since somebody wants them to."),
    "vcubev_hub_hosts": (GAUGE, "Hosts with a tunnel to this hub (carried), and with their traffic by it (preferred)."),
    "vcubev_hub_door_open": (GAUGE, "Whether an OpenVPN process lets hosts in, by process (door)."),
    "vcubev_hub_openvpn_sessions": (GAUGE, "OpenVPN sessions of hosts, by transport and process (door)."),
    "vcubev_hub_sessions": (GAUGE, "Routing sessions that are up, of those to all other hubs (peers)."),
    "vcubev_link_bgp_up": (GAUGE, "Whether the BGP session with another hub is established."),
    "vcubev_link_bfd_up": (GAUGE, "Whether BFD sees the other hub."),
    "vcubev_link_since_seconds": (GAUGE, "Since when the BGP session is as it is, in epoch seconds."),
    # of a host
    "vcubev_path_up": (GAUGE, "Whether a tunnel brings answers."),
    "vcubev_path_active": (GAUGE, "Whether a tunnel carries the host's traffic."),
    "vcubev_path_rtt_seconds": (GAUGE, "Round trip to the hub by a tunnel, smoothed."),
    "vcubev_path_loss_ratio": (GAUGE, "Share of a tunnel's probes of the last 10 s that brought no answer."),
    "vcubev_hub_rtt_seconds": (GAUGE, "Round trip to a hub's public side, the shortest of three."),
    "vcubev_host_claimed": (GAUGE, "Whether the hub of the tunnel in use has confirmed this host's claim."),
    "vcubev_host_rival": (GAUGE, "Whether another machine has this host's identity, and its traffic."),
    "vcubev_failovers_total": (COUNTER, "Moves of the host's traffic from one tunnel to the other, by reason."),
    "vcubev_last_failover_seconds": (GAUGE, "When the host's traffic last moved, in epoch seconds."),
    "vcubev_last_outage_seconds": (
        GAUGE,
        "How long no answer came at the last move, where the old tunnel had fallen silent.",
    ),
    # of a host with tunnels to others
    "vcubev_direct_in_use": (GAUGE, "Whether a tunnel to another host carries what is sent to it."),
    "vcubev_direct_rtt_seconds": (GAUGE, "Round trip to another host by the tunnel to it, smoothed."),
    "vcubev_direct_events_total": (
        COUNTER,
        "Tunnels to other hosts that came into use (used), went out of it by themselves (left), or never did (failed).",
    ),
}


def sample(name: str, value: float, **labels: str) -> str:
    """Return one line.

    Raises:
        KeyError: No such metric is in KINDS.
    """
    KINDS[name]
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels.items()))
    number = repr(round(value, 6)) if isinstance(value, float) else int(value)
    return f"{name}{{{told}}} {number}" if told else f"{name} {number}"


def _escaped(text: str) -> str:
    return str(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def page(samples: list[str]) -> str:
    """Return the text of a file: samples of one metric stand together, below what it is."""
    of: dict[str, list[str]] = {}
    for line in samples:
        of.setdefault(line.replace("{", " ").partition(" ")[0], []).append(line)
    lines = []
    for name in sorted(of):
        kind, told = KINDS[name]
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *of[name]]
    return "\n".join(lines) + "\n"


def replace(path: pathlib.Path, text: str) -> bool:
    """Write a file whole or not at all, and return whether: what is only told may find no room."""
    with contextlib.suppress(OSError):
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(text)
        draft.replace(path)
        return True
    return False


def filter_samples(counters: dict[str, dict[str, int]]) -> list[str]:
    """Return what the packet filter counted; see counters.py."""
    return [
        sample("vcubev_filter_packets_total", count, rule=rule, verdict=verdict)
        for verdict, rules in sorted(counters.items())
        for rule, count in sorted(rules.items())
    ]


def end_samples(ends: dict[str, int]) -> list[str]:
    return [sample("vcubev_end_seconds", end, what=what) for what, end in sorted(ends.items())]
