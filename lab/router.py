"""A site's router: what its nftables let through. IPv4 only, as the lab's underlay has no IPv6."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network
from itertools import product
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
    rules = ruleset(network, firewalls, machines, pair_cuts(stack, network))
    underlay.inside(stack.router(network), "nft", "-f", "-", stdin=rules)


def apply_everywhere(stack: Stack) -> None:
    """Bring all routers that run in line with the records."""
    for network in stack.networks.values():
        if underlay.exists(stack.router(network)):
            apply(stack, network)


def forget(stack: Stack, network: Network, machine: Machine) -> None:
    """Remove all connections that a router tracks for a machine, and their NAT mappings with them."""
    for side, address in product(("--orig-src", "--orig-dst"), machine.addresses):
        try:
            underlay.inside(stack.router(network), "conntrack", "--delete", side, str(address))
        except LabError as error:
            if "0 flow entries" not in str(error):  # which is exit code 1 as well
                raise


@dataclass(frozen=True)
class PairCut:
    """Packets dropped between a machine and an address: `outward` what the machine sends, `inward` what it gets."""

    number: int
    address: IPv4Address
    outward: bool
    inward: bool


def pair_cuts(stack: Stack, network: Network) -> list[PairCut]:
    """Return the cuts between two machines that are this router's to make.

    It is the router where the two are best told apart: behind NAT, machines share an address towards other sites.
    """
    cuts = []
    for sender in stack.machines.values():
        for name, one_way in sender.cut_from.items():
            if name not in stack.machines:
                continue
            here, there = sender, stack.machines[name]
            if _is_hidden(there, here) and not _is_hidden(here, there):
                here, there = there, here
            if here.network_id != network.id:
                continue
            both = not one_way
            cuts += [
                PairCut(here.number, address, both or here is sender, both or there is sender)
                for address in _seen(stack, there, here)
            ]
    return cuts


def _seen(stack: Stack, machine: Machine, viewer: Machine) -> list[IPv4Address]:
    """Return the addresses by which a router tells a machine's packets from and to another one."""
    if machine.network_id == viewer.network_id:
        return machine.addresses
    return [router_address(stack.network(machine.network_id)) if _is_hidden(machine, viewer) else machine.address]


def _is_hidden(machine: Machine, viewer: Machine) -> bool:
    return not machine.public and machine.network_id != viewer.network_id


def ruleset(network: Network, firewalls: list[Firewall], machines: list[Machine], cuts: Iterable[PairCut] = ()) -> str:
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
        cuts=cuts,
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
