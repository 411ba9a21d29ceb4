"""Which addresses stacks, sites and machines get. Nothing here that this computer already routes is given out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from lab.records import Network, Stack, known_stacks
from lab.system import LabError, run

# RFC 2544, for benchmarks: never on the real internet. The prefixes for documentation (RFC 5737) are not either, yet
# sandboxes are seen that use those for networks of their own.
OPERATOR_POOL = IPv4Network("198.19.255.0/24")
PUBLIC_POOL = IPv4Network("198.18.0.0/16")
SITE_PREFIX_LEN = 27
# The next hop that every router shows its machines, and the internet its routers. Two, for a router answers no
# neighbour that asks from an address of its own.
GATEWAY = IPv4Address("169.254.1.1")
INTERNET_GATEWAY = IPv4Address("169.254.1.2")


def routed_here() -> list[IPv4Network]:
    """Return every prefix that this computer has a route to or an address in, but the default route."""
    listed = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all"))
    destinations = {route["dst"] for route in listed} - {"default"}
    return [IPv4Network(destination) for destination in sorted(destinations)]


def operator_pair(number: int) -> tuple[IPv4Address, IPv4Address]:
    """Return a stack's two addresses on the link to the operator's computer: the operator's, the internet's."""
    first = OPERATOR_POOL.network_address + 2 * number
    return first, first + 1


def free_stack_number() -> int:
    """Return a number whose address pair nobody uses, in this lab or beside it.

    Raises:
        LabError: All are taken.
    """
    taken = {stack.number for stack in known_stacks()}
    routed = routed_here()
    for number in range(OPERATOR_POOL.num_addresses // 2):
        if number not in taken and not _overlaps(IPv4Network((operator_pair(number)[0], 31)), routed):
            return number
    raise LabError(f"all {OPERATOR_POOL.num_addresses // 2} stacks of the lab are taken; see `scripts/lab leftovers`.")


def free_public_prefix(stack: Stack) -> IPv4Network:
    """Return a /27 that no site has and this computer does not route.

    Raises:
        LabError: None is left.
    """
    sites = [network for known in [*known_stacks(), stack] for network in known.networks.values()]
    taken = [*routed_here(), *(network.public_prefix for network in sites)]
    for prefix in PUBLIC_POOL.subnets(new_prefix=SITE_PREFIX_LEN):
        if not _overlaps(prefix, taken):
            return prefix
    raise LabError("no public prefix is left in the lab; see `scripts/lab leftovers`.")


def router_address(network: Network) -> IPv4Address:
    """Return a site router's own public address, behind which its private machines appear."""
    return network.public_prefix.network_address + 1


def lease(network: Network, name: str, public: bool, live: Iterable[str]) -> tuple[IPv4Address, IPv4Address | None]:
    """Return `address` and `private_address` of a machine of that name: those it had before, if it had some.

    Args:
        network: Gets the leases written in.
        live: Names whose leases must stay when addresses run out.

    Raises:
        LabError: A prefix is full.
    """
    private = _lease(network, name, "private", live)
    return (_lease(network, name, "public", live), private) if public else (private, None)


def _lease(network: Network, name: str, kind: str, live: Iterable[str]) -> IPv4Address:
    key = f"{kind} {name}"
    if key not in network.leases:
        prefix = network.public_prefix if kind == "public" else network.private_prefix
        address = _first_free(prefix, network.leases.values())
        if address is None:
            kept = {f"{either} {machine}" for either in ("public", "private") for machine in (*live, name)}
            network.leases = {known: value for known, value in network.leases.items() if known in kept}
            address = _first_free(prefix, network.leases.values())
        if address is None:
            raise LabError(f"{prefix} holds no more machines; {name} needs an address. Use another site.")
        network.leases[key] = address
    return network.leases[key]


def _first_free(prefix: IPv4Network, taken: Iterable[IPv4Address]) -> IPv4Address | None:
    # The first address is the router's, as clouds have it.
    used = {prefix.network_address + 1, *taken}
    return next((address for address in prefix.hosts() if address not in used), None)


def _overlaps(prefix: IPv4Network, taken: Iterable[IPv4Network]) -> bool:
    return any(prefix.overlaps(other) for other in taken)
