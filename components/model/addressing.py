"""The address plan: a block for each role, an address for each id in it.

The plan is arithmetic on ids that the stack file holds, so an address depends on nothing else in the network.

Source: docs/adr/0002-address-plan.md
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

ROLE_PREFIX_LEN = 24  # IPv4: one role, 254 members; its ids read as the last octet
IPV6_OVERLAY_PREFIX_LEN = 48  # RFC 4193: the size of a site's unique local prefix
IPV6_ROLE_PREFIX_LEN = 64
OVERLAY_PREFIX_LENS = range(8, ROLE_PREFIX_LEN)  # a /24 would leave no room for a role beside the hubs' block
MEMBER_IDS = range(1, 255)  # 0 and 255 are a /24's network and broadcast address
HUBS_BLOCK = 0  # the slot of the overlay in which hubs have their addresses
NAMES_ID = 255  # in that slot, no member's: where every hub answers questions for names


def role_ids(overlay: IPv4Network) -> range:
    """Return the role ids that fit in an overlay; slot 0 belongs to the hubs."""
    return range(HUBS_BLOCK + 1, 1 << (ROLE_PREFIX_LEN - overlay.prefixlen))


def role_prefix_ipv4(overlay: IPv4Network, role_id: int) -> IPv4Network:
    """Return the /24 of the overlay that belongs to one role, for life."""
    start = int(overlay.network_address) + (role_id << (32 - ROLE_PREFIX_LEN))
    return IPv4Network((start, ROLE_PREFIX_LEN))


def role_prefix_ipv6(overlay: IPv6Network, role_id: int) -> IPv6Network:
    """Return the /64 of the overlay that belongs to one role: the role id is the subnet id."""
    start = int(overlay.network_address) + (role_id << (128 - IPV6_ROLE_PREFIX_LEN))
    return IPv6Network((start, IPV6_ROLE_PREFIX_LEN))


def member_ipv4(prefix: IPv4Network, member_id: int) -> IPv4Address:
    """Return the address of one member of a role."""
    return prefix.network_address + member_id


def member_ipv6(prefix: IPv6Network, member_id: int) -> IPv6Address:
    """Return the address of one member of a role; its interface id is the member's id."""
    return prefix.network_address + member_id
