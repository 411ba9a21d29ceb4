"""What answers questions for names on hubs, and what asks on hosts: ADR 9. Pure functions over components/templates."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from components.model.files import CONSTANTS, HOOKS, UNITS, FileSpec, copied, json_file, rendered
from components.model.topology import HubView, Overlay

RESTART_NAMES, RESTART_DNS = "restart vcubev-names.service", "restart vcubev-dns.service"
OCTET_BITS, NIBBLE_BITS = 8, 4  # a label of in-addr.arpa (RFC 1035 section 3.5); one of ip6.arpa (RFC 3596)


def reverse_zones(prefix: IPv4Network | IPv6Network) -> list[str]:
    """Return the zones that hold the addresses of a prefix and no other, the fewest there are."""
    step = OCTET_BITS if prefix.version == 4 else NIBBLE_BITS
    whole = -(-prefix.prefixlen // step) * step  # a zone ends where a label ends
    labels_left_out = (prefix.max_prefixlen - whole) // step
    parts = prefix.subnets(new_prefix=whole)
    return [part.network_address.reverse_pointer.split(".", labels_left_out)[-1] for part in parts]


def answers(hub: HubView, values: dict[str, object]) -> dict[str, FileSpec]:
    """Return what answers hosts' questions for names, and learns of them."""
    overlay: Overlay = values["overlay"]  # type: ignore[assignment]
    config = {
        "ipv4": str(hub.address.ipv4),
        "overlay_ipv4": str(overlay.ipv4),
        "overlay_ipv6": str(overlay.ipv6),
        "domain": overlay.domain,
        "names_port": CONSTANTS["NAMES_PORT"],
    }
    return {
        "/etc/vcubev/names.json": json_file(config, (RESTART_NAMES,)),
        "/etc/vcubev/dns.conf": rendered("dnsmasq/hub.conf.j2", _with_zones(values), (RESTART_DNS,)),
        **{
            f"{HOOKS}/{part}": copied(f"agents/{part}", "0644", (RESTART_NAMES,))
            for part in ("live.py", "names.py", "table.py")
        },
        f"{UNITS}/vcubev-names.service": rendered("systemd/vcubev-names.service.j2", {}, (RESTART_NAMES,)),
        f"{UNITS}/vcubev-dns.service": rendered("systemd/vcubev-dns.service.j2", {}, (RESTART_DNS,)),
    }


def questions(values: dict[str, object]) -> dict[str, FileSpec]:
    """Return what has a host's programs ask a hub for names of the overlay, and for no other."""
    resolver, lookup = ("restart vcubev-resolver.service",), ("restart vcubev-lookup.service",)
    again = "vcubev-lookup-again.service"
    return {
        "/etc/vcubev/dns.conf": rendered("dnsmasq/host.conf.j2", _with_zones(values), resolver),
        "/etc/vcubev/names.env": rendered("hooks/names.env.j2", _with_zones(values), lookup),
        f"{HOOKS}/lookup": copied("hooks/lookup", on_change=lookup),
        f"{UNITS}/vcubev-resolver.service": rendered("systemd/vcubev-resolver.service.j2", {}, resolver),
        f"{UNITS}/vcubev-lookup.service": rendered("systemd/vcubev-lookup.service.j2", {}, lookup),
        f"{UNITS}/{again}": rendered(f"systemd/{again}.j2", {}),
        f"{UNITS}/vcubev-lookup.path": rendered("systemd/vcubev-lookup.path.j2", {}, ("restart vcubev-lookup.path",)),
    }


def _with_zones(values: dict[str, object]) -> dict[str, object]:
    overlay: Overlay = values["overlay"]  # type: ignore[assignment]
    return {**values, "reverse_zones": [*reverse_zones(overlay.ipv4), *reverse_zones(overlay.ipv6)]}
