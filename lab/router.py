"""A site's router: what its nftables let through. IPv4 only, as the lab's underlay has no IPv6."""

from __future__ import annotations

from ipaddress import IPv4Network, collapse_addresses, ip_network
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab import underlay
from lab.addresses import router_address
from lab.records import Firewall, Machine, Network, Rule, Stack
from lab.system import LabError

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
PROTOCOLS = ("tcp", "udp", "icmp")
ANYWHERE = [IPv4Network("0.0.0.0/0")]


def apply(stack: Stack, network: Network) -> None:
    """Bring a site's router in line with the records."""
    machines = [machine for machine in stack.machines.values() if machine.network_id == network.id]
    firewalls = [firewall for firewall in stack.firewalls.values() if firewall.network_id == network.id]
    underlay.inside(stack.router(network), "nft", "-f", "-", stdin=ruleset(network, firewalls, machines))


def ruleset(network: Network, firewalls: list[Firewall], machines: list[Machine]) -> str:
    """Return a router's nftables. A machine whose firewall is not among `firewalls` gets replies only."""
    chains = {firewall.id: firewall.id.replace("-", "_") for firewall in firewalls}
    return TEMPLATES.get_template("router.nft.j2").render(
        network=network,
        router_address=router_address(network),
        chains=chains,
        firewalls=[
            {"chain": chains[firewall.id], "matches": [m for rule in firewall.rules for m in matches(rule)]}
            for firewall in firewalls
        ],
        machines=machines,
    )


def matches(rule: Rule) -> list[str]:
    """Return a rule's nftables matches: one, or none if it names no IPv4 source.

    Raises:
        LabError: Protocol, port or source is not what a cloud takes.
    """
    if rule.protocol not in PROTOCOLS:
        raise LabError(f"protocol {rule.protocol!r}: the lab's firewall knows {', '.join(PROTOCOLS)}.")
    if bool(rule.ports) == (rule.protocol == "icmp"):
        raise LabError(f"ports {rule.ports}: tcp and udp need at least one, icmp has none.")
    sources = _sources(rule.sources)
    if not sources:
        return []
    parts = [] if sources == ANYWHERE else [f"ip saddr {{ {', '.join(map(str, sources))} }}"]
    if rule.protocol == "icmp":
        parts.append("meta l4proto icmp")
    else:
        parts.append(f"{rule.protocol} dport {{ {', '.join(_ports(rule.ports))} }}")
    return [" ".join(parts)]


def _sources(texts: list[str]) -> list[IPv4Network]:
    # nft refuses a set whose intervals overlap, a cloud does not.
    try:
        prefixes = [ip_network(text) for text in texts]
    except ValueError as error:
        raise LabError(f"sources {texts}: {error}; each must be a prefix such as 203.0.113.0/24.") from None
    return list(collapse_addresses(p for p in prefixes if isinstance(p, IPv4Network)))


def _ports(texts: list[str]) -> list[str]:
    merged: list[list[int]] = []
    for first, last in sorted(map(_port_range, texts)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return [str(first) if first == last else f"{first}-{last}" for first, last in merged]


def _port_range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    try:
        bounds = int(first), int(last or first)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1] <= 65535:
        raise LabError(f'port {text!r}: give one such as "22" or a range such as "20000-20255", within 1-65535.')
    return bounds
