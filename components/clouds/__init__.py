"""The Data Center API: what a cloud must be able to do, and how one is found by the name in the stack file.

A cloud is one module of this package with three things in it; hub, host, site and mesh speak to nothing else:

    FACTS: CloudFacts                       what is known without asking: regions, defaults, prices (plain data)
    class Cloud                             the protocol `CloudApi` below, for one site
    def provider(name, site, opts)          optional: the provider instance of a site's account and region

Decisions that hold for every cloud:

- **Provider instances** are made by the program (`__main__.py` calls `sign_in`) and handed to each site's component as
  its `providers`. Resources inherit them by `parent=`; a cloud's module sets no `provider=` itself. Invokes take
  `InvokeOptions(parent=opts.parent)` for the same reason. `account` in the stack file names another account: an AWS
  profile, or for clouds with one token the variable <TOKEN>_<ACCOUNT>, by `env_var_mappings`, so that no credential is
  in the stack file or the state.
- **Networks.** `network` makes what the site's machines stand in, or with `site.network.vpc` takes one that exists.
  `site.network.nat` says how private machines reach the internet: "gateway" is the cloud's own, "hub" is the hub
  `site.gateway` (the one with the lowest id; its launch has `MachineSpec.gateway`), "" is that nothing need be done
  (the lab). With "hub" the site opens the hubs' firewall to the underlay, hubs forward and masquerade for
  `site.underlay` (templates/nftables/hub.nft.j2), `route_out` tells the cloud, and private machines are launched after
  that, since their first boot installs packages. A machine that must itself be told to use the hub gets
  `SiteNetwork.private_boot_commands` (cloud-init's bootcmd, at each boot). Hosts reach
  their own site's hubs by their private addresses first (`VirtualMachine.private_address`), so a private host keeps
  its tunnel to another hub of the site when the gateway is lost.
- **Firewalls** come in three purposes: hubs, public hosts, private hosts. Rules say what may come in; replies pass and
  all goes out. A rule may have no sources: it opens nothing. A cloud's module doesn't know the purposes.
- **Machines.** A public one has one constant public address, which outlives the machine where the cloud can do that.
  A machine has one identity, so its successor comes after it (`delete_before_replace`). Neither a new image nor other
  `user_data` may replace or reboot a machine that runs: `ignore_changes`. All disks are encrypted where that can be
  chosen. `zone` counts the site's failure zones from 0; take it modulo how many there are. `apart` machines of a site
  must not share what can fail as one (zone, placement group). `boot_limit(boot_seconds)` is the machine resource's
  custom timeout, where the plugin has one for it. `forwards` machines carry others' packets: the cloud's check of
  sources is off for them.
- **Names and tags.** `name` is the resource name and also what the machine is called at the cloud, as far as its rules
  allow. Everything that can carry tags has `tags(site, name)`, by which scripts/leftovers finds it.
- **Natives.** What a module made is in `natives` by a short name, for those who need more than this protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

from pulumi import Config, CustomTimeouts, Input, Output, ProviderResource, Resource, ResourceOptions, get_stack

from components.model.facts import CloudFacts, CloudNotInstalled
from components.model.topology import BroughtMachine, SiteView, Topology

ANYWHERE = ("0.0.0.0/0",)
STACK_TAG, SITE_TAG, NAME_TAG = "vcubev:stack", "vcubev:site", "Name"


@dataclass(frozen=True)
class FirewallRule:
    """What may come in to a machine; all else is dropped by the cloud, and replies pass."""

    protocol: Literal["tcp", "udp", "icmp"]
    ports: tuple[str, ...] = ()  # "22" or "20000-20255"; none for icmp
    sources: Input[list[str]] = ANYWHERE  # IPv4 CIDRs


@dataclass(frozen=True)
class Firewall:
    """One group of rules, ready to guard machines."""

    firewall_id: Output[str]
    natives: Mapping[str, Resource] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteNetwork:
    """The underlay of one site, ready to take machines. A cloud's module may derive a class with more in it."""

    network_id: Output[str]
    operator_sources: Output[list[str]]  # CIDRs from which this cloud sees the operator, beside those in the stack file
    # With nat "hub": what a private machine runs at each boot, before packages, to go out by it. Must be constant.
    private_boot_commands: Input[list[str]] = field(default_factory=list)
    natives: Mapping[str, Resource] = field(default_factory=dict)


@dataclass(frozen=True)
class MachineSpec:
    """A virtual machine to launch; `user_data` is constant for the machine's life."""

    public: bool
    firewall: Firewall
    user_data: Input[str] = ""
    size: str | None = None  # None: the cloud's default
    image: str | None = None
    boot_seconds: int | None = None  # until the cloud says that it runs; None: as long as the cloud's plugin waits
    zone: int = 0
    apart: bool = False
    forwards: bool = False
    gateway: bool = False  # the hub by which the site's private machines go out, with nat "hub"
    brought: BroughtMachine | None = None  # the user's own: there already


@dataclass(frozen=True)
class Access:
    """How a machine that was there before is first reached; cloud-init has not prepared it."""

    user: str
    host_key: str  # "ssh-ed25519 AAAA..."
    private_key: Input[str] | None  # None: the SSH agent's


@dataclass(frozen=True)
class VirtualMachine:
    """A launched machine. `instance_id` changes when, and only when, its disk is a new one."""

    resource: Resource | None  # with whose deletion all on the machine is gone; None if it outlives the stack
    instance_id: Output[str]
    public_address: Output[str]  # "" on a private machine
    private_address: Output[str]  # "" where the machine has only a public one
    natives: Mapping[str, Resource] = field(default_factory=dict)
    ready: tuple[Resource, ...] = ()  # what must be there, beside the machine, before it can be reached
    ssh_port: int = 22
    access: Access | None = None


@dataclass(frozen=True)
class Account:
    """What the program hands to one site: its provider instance and, for brought machines, the login key."""

    providers: tuple[ProviderResource, ...] = ()
    login_private_key: Input[str] | None = None


class CloudApi(Protocol):
    """One site's cloud region. Names are the engine's resource names; `opts` carries the parent, and `depends_on`."""

    def __init__(self, site: SiteView, account: Account) -> None: ...

    def network(self, name: str, opts: ResourceOptions) -> SiteNetwork: ...

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Firewall: ...

    def launch(self, name: str, network: SiteNetwork, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine: ...

    def route_out(
        self, name: str, network: SiteNetwork, gateway: VirtualMachine, opts: ResourceOptions
    ) -> tuple[Resource, ...]:
        """Send what private machines have for the internet through a hub; called with nat "hub" only."""
        ...


class Clouds(Mapping[str, CloudFacts]):
    """Cloud name -> facts. Loads a cloud's module, and with it its SDK, only when somebody asks for that cloud."""

    _names = tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.endswith(("__", "_sdk"))))

    def __getitem__(self, cloud: str) -> CloudFacts:
        if cloud not in self._names:
            raise KeyError(cloud)
        try:
            return _module(cloud).FACTS
        except ModuleNotFoundError as missing:
            raise CloudNotInstalled(missing.name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, cloud: object) -> bool:
        return cloud in self._names


def known_clouds() -> Clouds:
    """Return what `cloud:` takes in a stack file: the modules beside this one."""
    return Clouds()


def open_cloud(site: SiteView, account: Account) -> CloudApi:
    """Return the cloud of one site."""
    return _module(site.cloud).Cloud(site, account)


def sign_in(
    topology: Topology,
    prefix: str = "",
    opts: ResourceOptions | None = None,
    login_private_key: Input[str] | None = None,
) -> dict[str, Account]:
    """Make one provider instance for each cloud, account and region; called by the program, never by a component.

    Args:
        prefix: What the instances' names begin with; a program with two meshes needs one.
        login_private_key: By which brought machines are first reached; if it is not given, the configuration's.

    Returns:
        Site name -> what to hand to it.
    """
    made: dict[str, tuple[ProviderResource, ...]] = {}
    login_private_key = login_private_key or Config("vcubev").get_secret("byo_private_key")
    accounts = {}
    for site in topology.sites:
        name = "-".join(filter(None, (site.cloud, site.account, site.region)))
        make = getattr(_module(site.cloud), "provider", None)
        if name not in made:
            made[name] = () if make is None else (make(f"{prefix}{name}", site, opts or ResourceOptions()),)
        accounts[site.name] = Account(made[name], login_private_key)
    return accounts


def boot_limit(seconds: int | None) -> CustomTimeouts | None:
    """Return what `MachineSpec.boot_seconds` says to the engine, for a machine's resource."""
    return CustomTimeouts(create=f"{seconds}s") if seconds else None


def tags(site: SiteView, name: str) -> dict[str, str]:
    """Return what marks a resource as this stack's and this site's."""
    return {STACK_TAG: get_stack(), SITE_TAG: site.name, NAME_TAG: name}


def _module(cloud: str):
    return import_module(f"{__name__}.{cloud}")
