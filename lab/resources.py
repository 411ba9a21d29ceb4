"""The three resource kinds: which inputs and outputs each has, and what the lab does for it.

Machines, networks and firewalls are told apart by their ids, never by name: an operation on one that was replaced
meanwhile finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lab import image, machines, networks, router
from lab.machines import MachineState
from lab.networks import NetworkState
from lab.records import Rule
from lab.system import LabError

Values = dict[str, Any]
Outputs = dict[str, str | bool]


@dataclass(frozen=True)
class Identity:
    """Whose a resource is, from its URN."""

    project: str
    stack: str
    name: str

    @classmethod
    def of(cls, urn: str) -> Identity:
        """Take a URN apart: urn:pulumi:STACK::PROJECT::TYPE::NAME, where only the name may hold "::"."""
        stack, project, _, name = urn.removeprefix("urn:pulumi:").split("::", 3)
        return cls(project, stack, name)


@dataclass(frozen=True)
class Kind:
    """What the provider has to know of a resource type."""

    inputs: tuple[str, ...]
    replaced_by: frozenset[str]  # inputs that only a new resource can take
    outputs: tuple[str, ...]
    stable: tuple[str, ...]  # outputs that no update changes
    check: Callable[[Values], None]
    create: Callable[[Identity, Values], tuple[str, Outputs]]
    read: Callable[[Identity, str], Outputs | None]
    update: Callable[[Identity, str, Values], Outputs]
    delete: Callable[[Identity, str], None]


def _check_network(values: Values) -> None:
    if "private_prefix" in values:
        networks.parse_private_prefix(values["private_prefix"])


def _create_network(of: Identity, values: Values) -> tuple[str, Outputs]:
    state = networks.create_network(of.project, of.stack, of.name, values["private_prefix"])
    return state.id, _network(state)


def _read_network(of: Identity, network_id: str) -> Outputs | None:
    state = networks.read_network(of.project, of.stack, network_id)
    return _network(state) if state else None


def _update_network(of: Identity, network_id: str, _: Values) -> Outputs:
    return _network(networks.start_network(of.project, of.stack, network_id))


def _delete_network(of: Identity, network_id: str) -> None:
    networks.delete_network(of.project, of.stack, network_id)


def _network(state: NetworkState) -> Outputs:
    return {
        "operator_address": str(state.operator_address),
        "public_prefix": str(state.public_prefix),
        "running": state.running,
    }


def _check_firewall(values: Values) -> None:
    for rule in _rules(values.get("rules", [])):
        router.matches(rule)


def _create_firewall(of: Identity, values: Values) -> tuple[str, Outputs]:
    rules = _rules(values["rules"])
    return networks.create_firewall(of.project, of.stack, of.name, values["network_id"], rules), {}


def _read_firewall(of: Identity, firewall_id: str) -> Outputs | None:
    return {} if networks.has_firewall(of.project, of.stack, firewall_id) else None


def _update_firewall(of: Identity, firewall_id: str, values: Values) -> Outputs:
    networks.update_firewall(of.project, of.stack, firewall_id, _rules(values["rules"]))
    return {}


def _delete_firewall(of: Identity, firewall_id: str) -> None:
    networks.delete_firewall(of.project, of.stack, firewall_id)


def _rules(rules: list[Values]) -> list[Rule]:
    try:
        return [Rule.model_validate(rule) for rule in rules]
    except ValidationError as error:
        raise LabError(f"rules: {error}") from None


def _check_machine(values: Values) -> None:
    if "image" in values:
        image.path(values["image"])


def _create_machine(of: Identity, values: Values) -> tuple[str, Outputs]:
    wanted = (values["network_id"], values["firewall_id"], values["image"], values["user_data"], values["public"])
    state = machines.create_machine(of.project, of.stack, of.name, *wanted)
    return state.instance_id, _machine(state)


def _read_machine(of: Identity, instance_id: str) -> Outputs | None:
    state = machines.read_machine(of.project, of.stack, instance_id)
    return _machine(state) if state else None


def _update_machine(of: Identity, instance_id: str, values: Values) -> Outputs:
    return _machine(machines.update_machine(of.project, of.stack, instance_id, values["firewall_id"]))


def _delete_machine(of: Identity, instance_id: str) -> None:
    machines.delete_machine(of.project, of.stack, instance_id)


def _machine(state: MachineState) -> Outputs:
    return {
        "instance_id": state.instance_id,
        "public_address": str(state.address) if state.public else "",
        "private_address": str(state.private_address or ""),
        "running": state.running,
    }


KINDS = {
    "lab:index:Network": Kind(
        inputs=("private_prefix",),
        replaced_by=frozenset({"private_prefix"}),
        outputs=("operator_address", "public_prefix", "running"),
        stable=("operator_address", "public_prefix"),
        check=_check_network,
        create=_create_network,
        read=_read_network,
        update=_update_network,
        delete=_delete_network,
    ),
    "lab:index:Firewall": Kind(
        inputs=("network_id", "rules"),
        replaced_by=frozenset({"network_id"}),
        outputs=(),
        stable=(),
        check=_check_firewall,
        create=_create_firewall,
        read=_read_firewall,
        update=_update_firewall,
        delete=_delete_firewall,
    ),
    "lab:index:Machine": Kind(
        inputs=("network_id", "firewall_id", "image", "user_data", "public"),
        replaced_by=frozenset({"network_id", "image", "user_data", "public"}),
        outputs=("instance_id", "public_address", "private_address", "running"),
        stable=("instance_id", "public_address", "private_address"),
        check=_check_machine,
        create=_create_machine,
        read=_read_machine,
        update=_update_machine,
        delete=_delete_machine,
    ),
}
