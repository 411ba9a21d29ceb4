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
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.server import ComponentInitError

from components import mesh
from components.clouds import known_clouds, sign_in
from components.machine import LOGIN_USER
from components.model.declared import MESH_KEYS, SITE_KEYS, values_of
from components.model.errors import StackErrors
from components.model.stackfile import load

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


class _Foreign(ComponentResource):
    """A mesh below a component whose outputs any language can read."""

    hubs: dict[str, HubState]
    hosts: dict[str, HostState]
    login: Login
    ends: Output[Ends]

    def _declare(self, name: str, values: Mapping[str, Any], login_private_key: Input[str] | None) -> None:
        """Check what a stack file would say, and make it.

        Raises:
            InputPropertiesError: All of its mistakes.
        """
        try:
            topology = load(values, known_clouds())
        except StackErrors as errors:
            told = [{"property_path": error.place, "reason": f"{error.limit}. {error.cure}"} for error in errors.errors]
            count = "one mistake" if len(told) == 1 else f"{len(told)} mistakes"
            raise InputPropertiesError(f"its inputs have {count}; nothing was changed", told) from None
        child = ResourceOptions(parent=self)
        # A program in another language has no hand in it, so the component signs in: one instance for each region.
        accounts = sign_in(topology, f"{name}-", child, login_private_key)
        made = mesh.Mesh(name, mesh.MeshArgs(topology, accounts), child).stack_outputs()
        # Not by apply: what is known at preview stays so.
        self.hubs, self.hosts = _members(made["hubs"]), _members(made["hosts"])
        self.login = {"user": LOGIN_USER, "privateKey": made["login"]["private_key"]}
        self.ends = Output.from_input(made["certificates"]).apply(_ends)
        self.register_outputs({"hubs": self.hubs, "hosts": self.hosts, "login": self.login, "ends": self.ends})


class Mesh(_Foreign):
    """One flat, encrypted network over sites at several clouds."""

    def __init__(self, name: str, args: MeshInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PACKAGE}:index:Mesh", name, None, opts)
        values = dict(args)
        key = values.pop("byo_private_key", None)
        self._declare(name, _known(values), key)


class Site(_Foreign):
    """A mesh of one site, with an authority of its own. Sites that speak to each other are one Mesh."""

    def __init__(self, name: str, args: SiteInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PACKAGE}:index:Site", name, None, opts)
        values = dict(args)
        key, called = values.pop("byo_private_key", None), values.pop("site_name", name)
        known = _known(values)
        self._declare(name, {**known, "sites": {called: known.pop("site")}}, key)


class Provider(ComponentProvider):
    """The SDK's own host of components, but for mistakes in inputs: they are told without a traceback."""

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


def _known(inputs: Any) -> dict[str, Any]:
    """Return inputs as a stack file's values.

    Raises:
        InputPropertiesError: One comes of another resource: what is made must be known before anything is.
    """
    if unknown := sorted(_outputs(inputs, "")):
        reason = "must be known before anything is made. Write it down, or take it from the configuration."
        told = [{"property_path": place, "reason": reason} for place in unknown]
        raise InputPropertiesError("these inputs come of other resources; nothing was changed", told)
    return values_of(inputs)


def _outputs(inputs: Any, place: str) -> list[str]:
    if isinstance(inputs, Output):
        return [place]
    parts = inputs.items() if isinstance(inputs, dict) else enumerate(inputs) if isinstance(inputs, list) else ()
    return [found for key, value in parts for found in _outputs(value, f"{place}.{key}".lstrip("."))]


def _members(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {**member, "ssh": _access(member["ssh"])} for name, member in members.items()}


def _access(access: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "address": access["address"],
        "hostKey": access["host_key"],
        "gateway": access["gateway"],
        "port": access.get("port", 22),
    }


def _ends(lives: Mapping[str, Any]) -> dict[str, Any]:
    return {"authority": lives["authority"], "earliest": lives["earliest"]["end"], "of": lives["earliest"]["name"]}
