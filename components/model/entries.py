"""The shapes that a stack file's entries have, as pydantic checks them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from components.model.addressing import MEMBER_IDS
from components.model.topology import HOSTS_PORT, HOSTS_TCP_PORT

# Parts of a host name: 63 octets (RFC 1123) hold those of stack, site and hub.
NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$"
SITE_IDS = range(1, 255)  # the third octet of the default underlay
DAYS = range(1, 36_501)


def _prefix(kind: type) -> BeforeValidator:
    def parse(value: object) -> object:
        # The text form only: ipaddress would take the integer 10 for 0.0.0.10/32.
        if not isinstance(value, str):
            raise ValueError("is not a prefix written as text")
        return kind(value)

    return BeforeValidator(parse)


Name = Annotated[StrictStr, Field(pattern=NAME_PATTERN)]
IPv4Prefix = Annotated[IPv4Network, _prefix(IPv4Network)]
IPv6Prefix = Annotated[IPv6Network, _prefix(IPv6Network)]
MemberId = Annotated[StrictInt, Field(ge=MEMBER_IDS.start, lt=MEMBER_IDS.stop)]
Port = Annotated[StrictInt, Field(ge=1, le=65_535)]
Days = Annotated[StrictInt, Field(ge=DAYS.start, lt=DAYS.stop)]


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OverlayEntry(Entry):
    ipv4: IPv4Prefix
    ipv6: IPv6Prefix


class RoleEntry(Entry):
    id: Annotated[StrictInt, Field(ge=1)]


class HubEntry(Entry):
    id: MemberId
    size: StrictStr | None = None
    image: StrictStr | None = None
    port: Port = HOSTS_PORT
    tcp_port: Port = HOSTS_TCP_PORT


class HostEntry(Entry):
    role: Name
    id: MemberId
    private: StrictBool = False


class MachineEntry(Entry):
    size: StrictStr | None = None
    image: StrictStr | None = None


class SiteEntry(Entry):
    id: Annotated[StrictInt, Field(ge=SITE_IDS.start, lt=SITE_IDS.stop)]
    cloud: StrictStr
    region: Annotated[StrictStr, Field(min_length=1)]
    underlay: IPv4Prefix | None = None
    machine: MachineEntry = MachineEntry()
    hubs: Any = None  # each entry is checked by itself
    hosts: Any = None


class CertificatesEntry(Entry):
    ca_validity_days: Days = 3650
    validity_days: Days = 365
    renew_before_days: Days = 90


class OperatorsEntry(Entry):
    operators: list[IPv4Prefix]


class NameEntry(Entry):
    name: Name
