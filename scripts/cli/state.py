"""What the engine's state says that every machine was given: the bundles of files, units and packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.model.bundle import unpack
from scripts.cli.inventory import Inventory

# How the engine marks a secret in an exported state (pulumi/pulumi: sdk/go/common/resource, SigKey).
SIGNATURE = "4dabf18193072939515e22adb298388d"
COMMAND = "command:remote:Command"
MAIN_BUNDLES = ("hub", "host")


@dataclass(frozen=True)
class Installation:
    """One bundle on one machine."""

    urn: str
    machine: str  # as the inventory has it
    name: str  # the bundle's
    files: Mapping[str, Mapping[str, Any]]  # path -> content, mode, on_change
    units: tuple[str, ...]
    packages: tuple[str, ...]


def plain(value: Any) -> Any:
    """Return a value of an exported state, also where it is a secret in the clear."""
    return json.loads(value["plaintext"]) if isinstance(value, dict) and SIGNATURE in value else value


def whole(outputs: Mapping[str, Any]) -> Inventory:
    """Return all machines of a stack, also those that no hub lets in any more: they are there all the same."""
    return Inventory.of({**outputs, "certificates": {}})


def resources(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what an exported state holds, without predecessors that are about to go."""
    found = state.get("deployment", {}).get("resources") or []
    return [resource for resource in found if not resource.get("delete")]


def installations(state: Mapping[str, Any], inventory: Inventory) -> list[Installation]:
    """Return all bundles of a state with its secrets in the clear, those of each machine together, its main one first.

    A machine is known by its host key: each has one of its own making.
    """
    members = (*inventory.hubs.values(), *inventory.hosts.values())
    names = {member.ssh.host_key.strip(): member.name for member in members}
    found = []
    for resource in resources(state):
        inputs = resource.get("inputs", {})
        if resource["type"] != COMMAND or "stdin" not in inputs:
            continue
        machine = names.get(str(_plainly(inputs["connection"]).get("hostKey")).strip())
        if machine is not None:
            bundle = unpack(plain(inputs["stdin"]))
            parts = (tuple(bundle["units"]), tuple(bundle.get("packages", ())))
            found.append(Installation(resource["urn"], machine, bundle["name"], bundle["files"], *parts))
    return sorted(found, key=lambda one: (one.machine, one.name not in MAIN_BUNDLES, one.name))


def _plainly(value: Any) -> dict[str, Any]:
    """Return a connection, whose parts may be secrets within a secret."""
    return {key: plain(inner) for key, inner in (plain(value) or {}).items()}
