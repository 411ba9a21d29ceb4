"""The shapes that a stack file's entries have, as pydantic checks them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from components.model.addressing import MEMBER_IDS
from components.model.links import FULL_UP_TO
from components.model.topology import (
    DEFAULT_DOMAIN,
    HIGHEST_PORT,
    HOSTS_PORT,
    HOSTS_TCP_PORT,
    MOST_PROCESSES,
    SSH_PORT,
)

# Parts of a host name: 63 octets (RFC 1123) hold those of stack, site and hub.
NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$"
# RFC 1123, in lower case. The last label is no number, or it would be an address.
DOMAIN_PATTERN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
LONGEST_DOMAIN = 253 - 2 * len("a-name-of-20-letters.")  # RFC 1035: 253 for the whole name, with host and site
# RFC 6762, RFC 6761, RFC 7686, RFC 3172: resolvers do not ask a server for these, or ask their own.
TAKEN_DOMAINS = ("local", "localhost", "invalid", "onion", "arpa")
SITE_IDS = range(1, 255)  # the third octet of the default underlay
DAYS = range(1, 36_501)
BOOT_SECONDS = range(10, 3601)
# As useradd(8) allows them. It ends up in commands.
USER_PATTERN = r"^[a-z_][a-z0-9_-]{0,31}$"
HOST_KEY_PATTERN = r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,3}$"
# The cloud's own names: of regions, zones, networks, accounts.
CLOUD_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}$"


# What each id is unique among.
ID_KINDS = {"sites": "site id", "roles": "role id", "hubs": "hub id", "hosts": "id in role {}"}


def _prefix(kind: type) -> BeforeValidator:
    def parse(value: object) -> object:
        # The text form only: ipaddress would take the integer 10 for 0.0.0.10/32.
        if not isinstance(value, str):
            raise ValueError("is not a prefix written as text")
        return kind(value)

    return BeforeValidator(parse)


def _as_written(value: object) -> object:
    # The engine writes a bare value of the stack file as text when it rewrites that file.
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _address(value: object) -> IPv4Address:
    try:
        address = IPv4Address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast or address.is_loopback:
        raise PydanticCustomError("no_address", "is not the IPv4 address of a machine")
    return address


Name = Annotated[StrictStr, Field(pattern=NAME_PATTERN)]
IPv4Prefix = Annotated[IPv4Network, _prefix(IPv4Network)]
IPv6Prefix = Annotated[IPv6Network, _prefix(IPv6Network)]
MachineAddress = Annotated[IPv4Address, BeforeValidator(_address)]
UserName = Annotated[StrictStr, Field(pattern=USER_PATTERN, description="a login name")]
HostKey = Annotated[
    StrictStr,
    Field(pattern=HOST_KEY_PATTERN, description="a public host key, two words of /etc/ssh/ssh_host_ed25519_key.pub"),
]
CloudName = Annotated[StrictStr, Field(pattern=CLOUD_NAME_PATTERN, description="a name that a cloud gives")]
MemberId = Annotated[StrictInt, Field(ge=MEMBER_IDS.start, lt=MEMBER_IDS.stop)]
Port = Annotated[StrictInt, Field(ge=1, le=HIGHEST_PORT)]
Days = Annotated[StrictInt, Field(ge=DAYS.start, lt=DAYS.stop)]


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OverlayEntry(Entry):
    ipv4: IPv4Prefix
    ipv6: IPv6Prefix


class DomainEntry(Entry):
    domain: Annotated[
        StrictStr, Field(pattern=DOMAIN_PATTERN, description="a domain of two labels or more, such as vcubev.internal")
    ] = DEFAULT_DOMAIN


class RoleEntry(Entry):
    id: Annotated[StrictInt, Field(ge=1)]


class BroughtEntry(Entry):
    address: MachineAddress
    user: UserName
    host_key: HostKey
    port: Port = SSH_PORT


class HubEntry(Entry):
    id: MemberId
    size: CloudName | None = None
    image: CloudName | None = None
    port: Port = HOSTS_PORT
    tcp_port: Port = HOSTS_TCP_PORT
    processes: Annotated[StrictInt, Field(ge=1, le=MOST_PROCESSES)] = 1
    zone: Annotated[StrictInt, Field(ge=0)] | None = None
    machine: BroughtEntry | None = None


class HostEntry(Entry):
    role: Name
    id: MemberId
    private: StrictBool = False
    zone: Annotated[StrictInt, Field(ge=0)] | None = None
    machine: BroughtEntry | None = None
    formerly: list[Name] = []
    unmanaged: StrictBool = False


class MachineEntry(Entry):
    size: CloudName | None = None
    image: CloudName | None = None
    boot_seconds: Annotated[StrictInt, Field(ge=BOOT_SECONDS.start, lt=BOOT_SECONDS.stop)] | None = None


class NetworkEntry(Entry):
    vpc: CloudName | None = None
    nat: Literal["gateway", "hub"] | None = None
    zones: list[CloudName] = []


class SiteEntry(Entry):
    id: Annotated[StrictInt, Field(ge=SITE_IDS.start, lt=SITE_IDS.stop)]
    cloud: StrictStr
    region: CloudName | None = None
    account: CloudName | None = None
    underlay: IPv4Prefix | None = None
    network: NetworkEntry = NetworkEntry()
    machine: MachineEntry = MachineEntry()
    hubs: Any = None  # each entry is checked by itself
    hubs_of: StrictStr | None = None
    hosts: Any = None


class MeshEntry(Entry):
    # Two at least: one whose death parts the network would be none.
    full_up_to: Annotated[StrictInt, Field(ge=2, lt=MEMBER_IDS.stop)] = FULL_UP_TO


class DirectEntry(Entry):
    direct: Annotated[StrictBool, BeforeValidator(_as_written)] = False


class RetiredEntry(Entry):
    """Ids whose owners have gone; of hosts, by role."""

    hosts: dict[Name, list[MemberId]] = {}
    hubs: list[MemberId] = []
    sites: list[StrictInt] = []
    roles: list[StrictInt] = []

    def kinds(self) -> list[tuple[tuple[str, ...], list[int]]]:
        """Return (where it stands below `retired`, ids)."""
        of_hosts = [(("hosts", role), ids) for role, ids in sorted(self.hosts.items())]
        return [*of_hosts, (("hubs",), self.hubs), (("sites",), self.sites), (("roles",), self.roles)]


class CertificatesEntry(Entry):
    ca_validity_days: Days = 3650
    validity_days: Days = 365
    renew_before_days: Days = 90


class KeysEntry(Entry):
    authority: list[StrictInt] = [1]
    login: list[StrictInt] = [1]
    hosts: dict[StrictStr, list[StrictInt]] = {}
    hubs: dict[StrictStr, list[StrictInt]] = {}


class OperatorsEntry(Entry):
    operators: list[IPv4Prefix]


class NameEntry(Entry):
    name: Name
