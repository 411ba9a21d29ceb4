"""What is known of a cloud without asking it: the data by which a stack file is checked and a price is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class CloudNotInstalled(Exception):
    """A cloud's SDK is an extra that this environment lacks; the message is the package's name."""


@dataclass(frozen=True)
class PriceItem:
    """One line of a cloud's price list: the table's key is (cloud, region, kind, name).

    A machine itself is ("machine", SIZE); kinds beside it are "disk" (count in GB), "address", "nat" and what else a
    cloud charges for by the month.
    """

    kind: str
    name: str
    count: float = 1


@dataclass(frozen=True)
class CloudFacts:
    """One cloud's constants. Each cloud's module has them as `FACTS`."""

    regions: tuple[str, ...] = ()  # all that there are; () where any name will do
    default_size: str = ""
    default_image: str = ""
    underlay_prefix_lens: range = range(16, 29)  # what a site's private network may be
    nat: tuple[str, ...] = ()  # what `network.nat` may say, the default first; see components/clouds
    takes_vpc: bool = False  # whether `network.vpc` may name a network that exists
    takes_zones: bool = False  # whether `network.zones` may name the zones
    zones: int = 1  # failure zones that a site spreads over
    accounts: bool = False  # whether `account` may name another account
    sees_operator: bool = False  # whether the cloud itself knows where the operator comes from
    has_resolver: bool = True  # whether machines find a name server there
    brings_machines: bool = False  # whether machines are the user's own, each with its `machine:` entry
    # Sets of environment variables, any one of which signs in; () where none is needed.
    credentials: tuple[tuple[str, ...], ...] = ()
    # What is paid beside ("machine", SIZE): for each "machine", for each "public" one more, and for each site with
    # private hosts what its `nat` costs ("nat-gateway", "nat-hub").
    prices: Mapping[str, tuple[PriceItem, ...]] = field(default_factory=dict)
