"""What a host has for tunnels of its own to other hosts: ADR 16. Pure functions over components/templates."""

from __future__ import annotations

from ipaddress import IPv4Network

from components.model.files import HOOKS, UNITS, FileSpec, copied, json_file, rendered, text
from components.model.members import LOAD_FILTER, sizes
from components.model.topology import DIRECT_PORTS, DIRECT_TALK_PORT, HostView, Overlay

DIRECT_UNITS = ("vcubev-direct-turn.socket", "vcubev-direct.service")
AGENT = (
    "arranging.py",
    "direct.py",
    "means.py",
    "notify.py",
    "plan.py",
    "shortcuts.py",
    "showing.py",
    "signals.py",
    "straight.py",
)
HOOKS_OF_TUNNELS = ("direct-down", "direct-turn", "direct-up", "direct-verified")
OPTIONS = "/etc/vcubev/direct.conf"
CERTIFICATE = "/etc/vcubev/pki/direct.pem"


def direct_files(
    host: HostView,
    overlay: Overlay,
    underlay: IPv4Network,
    private_address: str,
    public_address: str,
    certificate_pem: str,
) -> dict[str, FileSpec]:
    """Return the agent of direct tunnels and what it is told. It names no other host.

    Args:
        underlay: Its site's own network.
        private_address: On the site's underlay; "" if it has none.
        public_address: "" if it has none.
        certificate_pem: With which it awaits others.
    """
    socket, unit = DIRECT_UNITS
    agent = (f"restart {unit}",)
    told = {
        "site": host.site,
        "private": private_address,
        "public": public_address,
        "ipv4": str(host.address.ipv4),
        "ipv6": str(host.address.ipv6),
        "overlay_ipv4": str(overlay.ipv4),
        "overlay_ipv6": str(overlay.ipv6),
        "talk_port": DIRECT_TALK_PORT,
        "ports": [DIRECT_PORTS.start, DIRECT_PORTS.stop],
        **sizes(),
    }
    values = {"host": host, "overlay": overlay, "underlay": underlay}
    return {
        "/etc/vcubev/direct.json": json_file(told, agent),
        "/etc/vcubev/direct.nft": rendered("nftables/direct.nft.j2", values, agent),
        "/etc/vcubev/doors/direct.nft": FileSpec(text("nftables/direct-door.nft.j2", {}), on_change=(LOAD_FILTER,)),
        # Its tunnels end with the agent, and those that begin read these anew.
        OPTIONS: rendered("openvpn/direct.conf.j2", values, agent),
        CERTIFICATE: FileSpec(certificate_pem, on_change=agent),
        **{f"{HOOKS}/{part}": copied(f"agents/{part}", "0644", agent) for part in AGENT},
        **{f"{HOOKS}/{hook}": copied(f"hooks/{hook}") for hook in HOOKS_OF_TUNNELS},
        f"{UNITS}/{unit}": rendered("systemd/vcubev-direct.service.j2", values, agent),
        f"{UNITS}/vcubev-direct@.service": rendered("systemd/vcubev-direct@.service.j2", {}, agent),
        f"{UNITS}/{socket}": rendered(f"systemd/{socket}.j2", {}, (f"restart {socket}", *agent)),
        f"{UNITS}/vcubev-direct-turn.service": rendered("systemd/vcubev-direct-turn.service.j2", {}),
    }


def direct_wall(overlay: Overlay) -> dict[str, FileSpec]:
    """Return what lets hosts arrange direct tunnels through a hub whose packet filter knows services only."""
    # No service has such a name.
    rules = text("nftables/direct-wall.nft.j2", {"overlay": overlay})
    return {"/etc/vcubev/services/0-direct.nft": FileSpec(rules, on_change=(LOAD_FILTER,))}
