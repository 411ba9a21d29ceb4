"""What serves a member's metrics: ADR 11. Pure functions over components/templates."""

from __future__ import annotations

from components.model.files import HOOKS, UNITS, FileSpec, copied, rendered
from components.model.policy import Service
from components.model.render import LOAD_FILTER
from components.model.topology import HostView, HubView, Overlay

METRICS_UNITS = ("vcubev-metrics.service",)
# Where agents tell how they are.
AGENT_DIRECTORIES = {"hub": "/run/vcubev-hub", "host": "/run/vcubev-paths"}
# Of a host with direct tunnels: those of both agents, and nothing else that begins like them.
TWO_AGENTS_DIRECTORIES = "/run/vcubev-[dp]*[ts]"


def metrics_files(
    kind: str, member: HubView | HostView, overlay: Overlay, metrics: Service, direct: bool = False
) -> dict[str, FileSpec]:
    """Return what serves a member's metrics to those who may ask, and to nobody else.

    Args:
        kind: "host" or "hub".
        direct: Whether it is a host that has direct tunnels.
    """
    unit = METRICS_UNITS[0]
    directory = TWO_AGENTS_DIRECTORIES if direct else AGENT_DIRECTORIES[kind]
    values = {"member": member, "overlay": overlay, "directory": directory}
    return {
        "/etc/vcubev/doors/metrics.nft": rendered(
            "nftables/metrics-door.nft.j2", {"member": member, "metrics": metrics}, (LOAD_FILTER,)
        ),
        f"{HOOKS}/get-exporter": copied("hooks/get-exporter"),
        f"{UNITS}/{unit}": rendered("systemd/vcubev-metrics.service.j2", values, (f"restart {unit}",)),
    }
