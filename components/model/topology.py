"""The network as data: frozen views that every later step reads and none changes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from components.model.addressing import (
    HUBS_BLOCK,
    NAMES_ID,
    member_ipv4,
    member_ipv6,
    role_prefix_ipv4,
    role_prefix_ipv6,
)
from components.model.keys import UNROTATED, Keys
from components.model.policy import OPEN, Policy

LINK_PORTS = range(20_000, 20_256)  # one for each possible hub id, so that it never changes
HOSTS_PORT = 1194  # OpenVPN's registered port (IANA)
HOSTS_TCP_PORT = 443  # what networks that block UDP let through
CLAIMS_PORT = 1195  # UDP, in the overlay: where a hub takes its hosts' claims
NAMES_PORT = 1196  # UDP, in the overlay: where hubs tell each other the names of their hosts
# OpenVPN binds a UDP port on every address of a hub, and does not start where another daemon has it on one of them.
OWN_UDP_PORTS = {
    53: "the names' daemon",
    CLAIMS_PORT: "hosts' claims",
    NAMES_PORT: "what hubs tell each other of names",
    **dict.fromkeys((3784, 4784), "BFD"),
    **dict.fromkeys(LINK_PORTS, "the links between hubs"),
}
DIRECT_TALK_PORT = 1197  # UDP, in the overlay: where hosts arrange tunnels of their own
DIRECT_PORTS = range(20_300, 20_332)  # UDP, on the underlay: where one of two hosts awaits the other's tunnel
MOST_PROCESSES = 8  # by which hosts come in by UDP: one for each core
HIGHEST_PORT = 65_535
SSH_PORT = 22
DEFAULT_DOMAIN = "vcubev.internal"  # ICANN keeps "internal" out of the public DNS for networks like this one
FIRST_ASN = 4_200_000_000  # private 4-byte range, one number for each hub (RFC 6996; RFC 7938 section 5.2.1)


@dataclass(frozen=True)
class VirtualAddress:
    """Where a member is in the overlay, for life."""

    ipv4: IPv4Address
    ipv6: IPv6Address


@dataclass(frozen=True)
class Overlay:
    """The whole virtual network."""

    ipv4: IPv4Network
    ipv6: IPv6Network
    domain: str = DEFAULT_DOMAIN  # below which its members have their names

    @property
    def hubs_ipv4(self) -> IPv4Network:
        return role_prefix_ipv4(self.ipv4, HUBS_BLOCK)

    @property
    def names(self) -> VirtualAddress:
        """Where every hub answers questions for names; to a host it is the hub that it is on."""
        hubs_ipv6 = role_prefix_ipv6(self.ipv6, HUBS_BLOCK)
        return VirtualAddress(member_ipv4(self.hubs_ipv4, NAMES_ID), member_ipv6(hubs_ipv6, NAMES_ID))


@dataclass(frozen=True)
class Role:
    """A named block of the overlay that hosts are drawn from."""

    name: str
    id: int
    ipv4: IPv4Network
    ipv6: IPv6Network


@dataclass(frozen=True)
class BroughtMachine:
    """A machine of the user's own, as SSH first reaches it."""

    address: str  # an IPv4 address: of the internet, or for a private host as its hub reaches it
    user: str  # may become root by sudo with no password, or is root
    host_key: str  # "ssh-ed25519 AAAA..."
    port: int = SSH_PORT


@dataclass(frozen=True)
class NetworkChoice:
    """What the stack file says of a site's network; see components/clouds."""

    vpc: str = ""  # the cloud's own id of a network that exists; "" to make one
    nat: str = ""  # "gateway", "hub" or "": how private machines reach the internet
    zones: tuple[str, ...] = ()  # the cloud's own names; () to leave it to the cloud's module


@dataclass(frozen=True)
class Door:
    """One of a hub's OpenVPN processes, by which hosts come in."""

    name: str  # of its unit, and after "hosts-" of its device and its file: udp, udp2, udp3, ..., tcp
    transport: str
    port: int


@dataclass(frozen=True)
class HubView:
    """An OpenVPN server of a site that also routes."""

    name: str
    site: str
    id: int  # 1-254, unique in the mesh: address, router id, ASN and link ports follow from it
    address: VirtualAddress
    port: int = HOSTS_PORT  # UDP, where hosts come in
    tcp_port: int = HOSTS_TCP_PORT  # where they come in when UDP is blocked
    size: str | None = None  # the site's, where it is None
    image: str | None = None
    zone: int = 0  # failure zone of the site, counted from 0
    machine: BroughtMachine | None = None
    processes: int = 1  # for hosts that come by UDP: OpenVPN has one thread, and a hub several cores

    @property
    def ssh_port(self) -> int:
        return self.machine.port if self.machine else SSH_PORT

    @property
    def key(self) -> str:
        return f"{self.site}/{self.name}"

    @property
    def common_name(self) -> str:
        return f"hub.{self.site}.{self.name}"

    @property
    def udp_ports(self) -> tuple[int, ...]:
        """The port of each process that hosts come in by: the first is `port`, the others the next that are free."""
        free = (port for port in itertools.count(self.port + 1) if port not in OWN_UDP_PORTS)
        return (self.port, *itertools.islice(free, self.processes - 1))

    @property
    def doors(self) -> tuple[Door, ...]:
        numbers = ("", *range(2, self.processes + 1))
        by_udp = [Door(f"udp{n}", "udp", port) for n, port in zip(numbers, self.udp_ports, strict=True)]
        return (*by_udp, Door("tcp", "tcp", self.tcp_port))

    @property
    def asn(self) -> int:
        return FIRST_ASN + self.id

    @property
    def link_port(self) -> int:
        """UDP port at which every other hub has its end of the tunnel to this one."""
        return LINK_PORTS[self.id]

    @property
    def link_local(self) -> IPv6Address:
        """Address on every link, whatever the peer (RFC 4291 section 2.5.6)."""
        return IPv6Address("fe80::") + self.id


@dataclass(frozen=True)
class HostView:
    """A member machine of the overlay."""

    name: str
    site: str
    role: str
    id: int
    address: VirtualAddress
    private: bool = False  # has no public address on the underlay
    hubs_of: str = ""  # the site whose hubs are its own, if its site has none
    zone: int = 0  # failure zone of the site, counted from 0
    machine: BroughtMachine | None = None
    formerly: tuple[str, ...] = ()  # names that it had before: by them the engine finds what it made
    unmanaged: bool = False  # joins by a file with its certificate and key; no machine of it is set up

    @property
    def hub_site(self) -> str:
        """Name of the site whose hubs carry it first."""
        return self.hubs_of or self.site

    @property
    def common_name(self) -> str:
        return f"host.{self.name}"


@dataclass(frozen=True)
class LinkView:
    """A hub-to-hub tunnel. The hub with the lower id listens."""

    listener: HubView
    dialer: HubView
    leaf: HubView | None = None  # the end that is none of the core's hubs, where the other one is
    rank: int = 0  # of this one among the leaf's links to the core, from 1: it sends by the first
    sibling: bool = False  # between two hubs of one site, of which none is the core's

    @property
    def name(self) -> str:
        return f"{self.listener.id}-{self.dialer.id}"

    @property
    def ends(self) -> tuple[HubView, HubView]:
        return self.listener, self.dialer

    def role(self, own: HubView) -> str:
        """Return what the link is to one of its ends: "up" to the core, "down" to a leaf, "sibling", or "peer"."""
        if self.leaf is not None:
            return "up" if own == self.leaf else "down"
        return "sibling" if self.sibling else "peer"


@dataclass(frozen=True)
class SiteView:
    """One cloud region's machines."""

    name: str
    id: int
    cloud: str
    region: str
    underlay: IPv4Network  # private addresses of the machines, as the cloud gives them
    hubs: tuple[HubView, ...]
    hosts: tuple[HostView, ...]
    size: str | None = None
    image: str | None = None
    boot_seconds: int | None = None  # what a new machine may take; None leaves it to the program and the cloud's plugin
    network: NetworkChoice = NetworkChoice()
    account: str = ""  # "" is what the environment signs in to
    hubs_of: str = ""  # another site, if this one has no hub of its own

    @property
    def gateway(self) -> HubView | None:
        """The hub by which private machines go out where `network.nat` is "hub": for life, so not by its name."""
        return min(self.hubs, key=lambda hub: hub.id, default=None)


@dataclass(frozen=True)
class Certificates:
    """Lifetimes."""

    ca_validity_hours: int
    validity_hours: int
    early_renewal_hours: int


@dataclass(frozen=True)
class Topology:
    """One mesh. Every tuple is in the order of ids or names, whatever the order of the stack file."""

    overlay: Overlay
    roles: tuple[Role, ...]
    sites: tuple[SiteView, ...]
    certificates: Certificates
    operators: tuple[IPv4Network, ...] = ()  # from where SSH reaches public machines
    policy: Policy = OPEN
    keys: Keys = UNROTATED
    revoked: frozenset[str] = frozenset()  # common names, and serial numbers as text
    links: tuple[LinkView, ...] = ()
    direct: bool = False  # hosts that reach each other without a hub have tunnels of their own

    @property
    def hubs(self) -> tuple[HubView, ...]:
        return tuple(hub for site in self.sites for hub in site.hubs)

    @property
    def hosts(self) -> tuple[HostView, ...]:
        return tuple(host for site in self.sites for host in site.hosts)

    def names_of(self, host: HostView) -> tuple[str, ...]:
        """Return a host's names in full, as its certificate has them: its own, below its site first, and its role's.

        A role's name is nobody else's: a host of that name has the one below its site only.
        """
        short = () if any(role.name == host.name for role in self.roles) else (host.name,)
        names = (f"{host.name}.{host.site}", *short, host.role)
        return tuple(f"{name}.{self.overlay.domain}" for name in names)

    @property
    def members(self) -> tuple[HubView | HostView, ...]:
        return (*self.hubs, *self.hosts)
