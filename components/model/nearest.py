"""What a host has to reach services at their nearest servers: ADR 12. Pure functions over components/templates."""

from __future__ import annotations

from components.model.files import HOOKS, UNITS, FileSpec, copied, json_file, rendered
from components.model.policy import Policy, Service
from components.model.topology import HostView, Overlay

# Started in this order, stopped in the other: what is set is taken back by the one that sets it.
NEAREST_UNITS = ("vcubev-steer.socket", "vcubev-nearest.service")
AGENT = ("closest.py", "health.py", "members.py", "nearest.py", "probes.py", "servers.py")
STEER = ("flows.py", "steer.py")


def nearest_services(policy: Policy, host: HostView) -> tuple[Service, ...]:
    """Return the services that a host reaches at a shared address."""
    return tuple(service for service in policy.services if service.check is not None and families_for(service, host))


def families_for(service: Service, host: HostView) -> tuple[str, ...]:
    """Return the families of nftables in which a host is one of a service's sources."""
    addresses = {"ip": host.address.ipv4, "ip6": host.address.ipv6}
    return tuple(f for f, address in addresses.items() if any(party.holds(address) for party in service.sources))


def nearest_service_files(service: Service, host: HostView, overlay: Overlay, ping: bool) -> dict[str, FileSpec]:
    """Return what a host's agent is told of one service. It names no other host.

    Args:
        ping: Whether servers answer pings.
    """
    check, role = service.check, service.on.name.removeprefix("role ")
    prefixes = {"ip": service.on.ipv4[0], "ip6": service.on.ipv6[0]}
    told = {
        "role": f"{role}.{overlay.domain}",
        "names": str(overlay.names.ipv4),
        "own": host.id if host.role == role else None,
        "shared": {family: str(prefixes[family].network_address) for family in families_for(service, host)},
        "prefix": str(prefixes["ip"].network_address),
        "ports": {protocol: list(map(str, ports)) for protocol, ports in service.by_protocol()},
        "ping": ping,
        "check": {"tcp": check.tcp, "http": check.http, "path": check.path, "expect": check.expect},
        "every_seconds": check.every_seconds,
    }
    # No action: the agent looks at the directory itself.
    return {f"/etc/vcubev/nearest/{service.name}.json": json_file(told)}


def nearest_files(overlay: Overlay) -> dict[str, FileSpec]:
    """Return the agent that finds nearest servers, the same on every host that has such services."""
    agent = (f"restart {NEAREST_UNITS[1]}",)
    socket = NEAREST_UNITS[0]
    return {
        **{f"{HOOKS}/{part}": copied(f"agents/{part}", "0644", agent) for part in AGENT},
        # The next time that it is asked.
        **{f"{HOOKS}/{part}": copied(f"agents/{part}", "0644") for part in STEER},
        f"{UNITS}/{socket}": rendered(f"systemd/{socket}.j2", {}, (f"restart {socket}", *agent)),
        f"{UNITS}/vcubev-steer.service": rendered("systemd/vcubev-steer.service.j2", {}),
        f"{UNITS}/{NEAREST_UNITS[1]}": rendered("systemd/vcubev-nearest.service.j2", {"overlay": overlay}, agent),
    }
