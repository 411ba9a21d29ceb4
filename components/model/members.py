"""What hubs and hosts have alike: addresses and devices, what is known of hubs."""

from __future__ import annotations

from components.model.files import CONSTANTS, HOOKS, UNITS, FileSpec, copied, json_file, rendered
from components.model.topology import HubView, Overlay

LOAD_FILTER = "reload nftables.service"


def network_files(kind: str, values: dict[str, object]) -> dict[str, FileSpec]:
    """Return what hub and host have alike: addresses and devices, kernel settings, packet filter."""
    overlay: Overlay = values["overlay"]  # type: ignore[assignment]
    hextets = ":".join(f"{int(part, 16):x}" for part in overlay.ipv6.network_address.exploded.split(":")[:3])
    # A host's tunnels live on its devices, and it cannot be drained.
    again = ("reload vcubev-net.service",) if kind == "host" else ("restart vcubev-net.service",)
    return {
        "/etc/vcubev/overlay.env": rendered("hooks/overlay.env.j2", {**values, "hextets": hextets}, again),
        "/etc/nftables.conf": rendered(f"nftables/{kind}.nft.j2", values, (LOAD_FILTER,)),
        "/etc/sysctl.d/60-vcubev.conf": rendered(f"sysctl/{kind}.conf.j2", {}, again),
        "/etc/sysusers.d/vcubev.conf": rendered(
            "sysusers/vcubev.conf.j2", {"kind": kind, "direct": values.get("direct", False)}
        ),
        f"{UNITS}/vcubev-net.service": rendered("systemd/vcubev-net.service.j2", {}, again),
        f"{HOOKS}/net-up": copied(f"hooks/{kind}-net-up", on_change=again),
        f"{HOOKS}/net-down": copied(f"hooks/{kind}-net-down"),
    }


def sizes() -> dict[str, object]:
    """Return how large packets may be, everywhere and at best, as agents read it."""
    return {name.lower(): CONSTANTS[name] for name in ("MTU_BYTES", "JUMBO_MTU_BYTES")}


def told(hub: HubView, endpoint: str, inner: str) -> dict[str, FileSpec]:
    """Return what hosts hear of one hub, as a hub's agent hands it on."""
    known = {
        "id": hub.id,
        "site": hub.site,
        "name": hub.name,
        "ipv4": str(hub.address.ipv4),
        "endpoint": endpoint,
        "port": hub.port,
        "tcp_port": hub.tcp_port,
    }
    if hub.processes > 1:  # hosts that have never heard of more than one go on
        known["more_ports"] = list(hub.udp_ports[1:])
    if inner:
        known["inner"] = inner
    # No action: the agents look at the directory themselves.
    return {f"/etc/vcubev/hubs/{hub.id}.json": json_file(known)}
