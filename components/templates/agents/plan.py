"""The address plan, as far as agents need it. Source: docs/adr/0002-address-plan.md"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


def place(address: IPv4Address, overlay4: IPv4Network) -> tuple[int, int]:
    """Return (role, id) of an address in the overlay."""
    return divmod(int(address) - int(overlay4.network_address), 256)


def ipv6_of(address: IPv4Address, overlay4: IPv4Network, overlay6: IPv6Network) -> IPv6Address:
    """Return the other address of a member."""
    role, member = place(address, overlay4)
    return overlay6.network_address + (role << 64) + member
