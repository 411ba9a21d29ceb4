"""What a cloud must be able to do, and how one is found by the name in the stack file.

A cloud is one module of this package with a class `Cloud`. Hub, host, site and mesh speak to this protocol only.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

from pulumi import Input, Output, Resource, ResourceOptions

ANYWHERE = ("0.0.0.0/0",)


@dataclass(frozen=True)
class FirewallRule:
    """What may come in to a machine; all else is dropped by the cloud, and replies pass."""

    protocol: Literal["tcp", "udp", "icmp"]
    ports: tuple[str, ...] = ()  # "22" or "20000-20255"; none for icmp
    sources: Input[list[str]] = ANYWHERE  # CIDRs


@dataclass(frozen=True)
class SiteNetwork:
    """The underlay of one site, ready to take machines."""

    resource: Resource
    network_id: Output[str]
    operator_sources: Output[list[str]]  # CIDRs from which this cloud sees the operator, beside those in the stack file


@dataclass(frozen=True)
class MachineSpec:
    """A virtual machine to launch; `user_data` is constant for the machine's life."""

    public: bool
    user_data: Input[str]
    firewall_id: Input[str]
    size: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class VirtualMachine:
    """A launched machine. `instance_id` changes when, and only when, its disk is a new one."""

    resource: Resource
    instance_id: Output[str]
    public_address: Output[str]  # "" on a private machine
    private_address: Output[str]  # "" where the machine has only a public one


class CloudApi(Protocol):
    """One cloud region. Names are the engine's resource names; `opts` carries the parent."""

    def __init__(self, region: str) -> None: ...

    def network(self, name: str, private_prefix: str, opts: ResourceOptions) -> SiteNetwork: ...

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Output[str]: ...

    def launch(self, name: str, network: SiteNetwork, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine: ...


def known_clouds() -> tuple[str, ...]:
    """Return the names that `cloud:` takes in a stack file: the modules beside this one."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.endswith(("__", "_sdk"))))


def open_cloud(cloud: str, region: str) -> CloudApi:
    """Load one cloud's module, and with it its SDK, only when a site asks for it."""
    return import_module(f"{__name__}.{cloud}").Cloud(region)
