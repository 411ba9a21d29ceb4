"""Mesh and Site as programs in other languages see them: inputs are a stack file's keys, outputs an inventory.

`plugin/` serves them; the schema follows from the annotations here and from the entries that check a stack file. No
`from __future__ import annotations`: the SDK's analyzer takes types, not their names.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi.errors import InputPropertiesError
from pulumi.provider import ConstructResult
from pulumi.provider.experimental.analyzer import ComponentDefinition
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.server import ComponentInitError

from components import mesh
from components.clouds import known_clouds, sign_in
from components.machine import LOGIN_USER
from components.model.declared import MESH_KEYS, SITE_KEYS, values_of
from components.model.errors import StackErrors
from components.model.stackfile import load
from components.model.topology import SSH_PORT

PACKAGE, VERSION = "vcubev", "0.1.0"
BYO_KEY = {"byo_private_key": NotRequired[Input[str]]}  # by which machines of the user's own are first reached
MeshInputs = TypedDict("MeshInputs", {**MESH_KEYS, **BYO_KEY})
SiteInputs = TypedDict("SiteInputs", {**SITE_KEYS, **BYO_KEY})


# Keys of one word or written as the engine writes them: it renames those of maps' values in the schema only.
class SshAccess(TypedDict):
    address: str
    hostKey: str
    gateway: str  # "oregon/a": the hub through which a private machine is reached; "" is none
    port: int


class HubState(TypedDict):
    id: int
    site: str
    ipv4: str
    ipv6: str
    ssh: SshAccess


class HostState(TypedDict):
    site: str
    role: str
    private: bool
    ipv4: str
    ipv6: str
    ssh: SshAccess


class Login(TypedDict):
    user: str
    privateKey: str


class Ends(TypedDict):
    """When certificates end, in UTC: the authority's, and the earliest of all with its owner's name."""

    authority: str
    earliest: str
    of: str


class Inventory:
    """What a mesh tells programs in other languages."""

    hubs: dict[str, HubState]
    hosts: dict[str, HostState]
    login: Login
    ends: Ends


class Mesh(Inventory, mesh.Mesh):
    """One flat, encrypted network over sites at several clouds."""

    def __init__(self, name: str, args: MeshInputs, opts: ResourceOptions | None = None) -> None:
        beside = ResourceOptions(parent=opts.parent if opts else None)
        super().__init__(name, _mesh_args(name, args, beside), opts)

    def inventory(self) -> dict[str, Any]:
        return _inventory(self)


class Site(Inventory, ComponentResource):
    """A mesh of one site, with an authority of its own. Sites that speak to each other are one Mesh."""

    def __init__(self, name: str, args: SiteInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PACKAGE}:index:Site", name, None, opts)
        rest = {key: value for key, value in args.items() if key not in ("site", "site_name")}
        whole = {**rest, "sites": {args.get("site_name") or name: args["site"]}}
        child = ResourceOptions(parent=self)
        self._mesh = mesh.Mesh(name, _mesh_args(name, whole, child), child)
        self.register_outputs({})

    def inventory(self) -> dict[str, Any]:
        return _inventory(self._mesh)


class Provider(ComponentProvider):
    """The SDK's own host of components, but for what it takes from a component, and for mistakes in inputs: they are
    told without a traceback."""

    def __init__(self) -> None:
        super().__init__([Mesh, Site], PACKAGE, version=VERSION)

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: ResourceOptions | None = None
    ) -> ConstructResult:
        try:
            return super().construct(name, resource_type, inputs, options)
        except ComponentInitError as failed:
            if isinstance(failed.inner, InputPropertiesError):
                raise failed.inner from None
            raise

    def get_state(self, instance: Mesh | Site, component_def: ComponentDefinition) -> dict[str, Any]:
        return instance.inventory()


def _mesh_args(name: str, inputs: Mapping[str, Any], opts: ResourceOptions) -> mesh.MeshArgs:
    """Check what would be a stack file, and sign in: a program in another language can hand over no provider instances.

    Raises:
        InputPropertiesError: All of its mistakes.
    """
    values = dict(inputs)
    login_private_key = values.pop("byo_private_key", None)
    if unknown := sorted(_outputs(values, "")):
        reason = "must be known before anything is made. Write it down, or take it from the configuration."
        told = [{"property_path": place, "reason": reason} for place in unknown]
        raise InputPropertiesError("these inputs come of other resources; nothing was changed", told)
    try:
        topology = load(values_of(values), known_clouds())
    except StackErrors as errors:
        told = [{"property_path": error.place, "reason": f"{error.limit}. {error.cure}"} for error in errors.errors]
        count = "one mistake" if len(told) == 1 else f"{len(told)} mistakes"
        raise InputPropertiesError(f"its inputs have {count}; nothing was changed", told) from None
    return mesh.MeshArgs(topology, sign_in(topology, f"{name}-", opts, login_private_key))


def _outputs(inputs: Any, place: str) -> list[str]:
    if isinstance(inputs, Output):
        return [place]
    parts = inputs.items() if isinstance(inputs, dict) else enumerate(inputs) if isinstance(inputs, list) else ()
    return [found for key, value in parts for found in _outputs(value, f"{place}.{key}".lstrip("."))]


def _inventory(made: mesh.Mesh) -> dict[str, Any]:
    outputs = made.stack_outputs()
    # Not by apply: what is known at preview stays so.
    return {
        "hubs": _members(outputs["hubs"]),
        "hosts": _members(outputs["hosts"]),
        "login": {"user": LOGIN_USER, "privateKey": outputs["login"]["private_key"]},
        "ends": Output.from_input(outputs["certificates"]).apply(_ends),
    }


def _members(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {**member, "ssh": _access(member["ssh"])} for name, member in members.items()}


def _access(access: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "address": access["address"],
        "hostKey": access["host_key"],
        "gateway": access["gateway"],
        "port": access.get("port", SSH_PORT),
    }


def _ends(lives: Mapping[str, Any]) -> dict[str, Any]:
    return {"authority": lives["authority"], "earliest": lives["earliest"]["end"], "of": lives["earliest"]["name"]}
