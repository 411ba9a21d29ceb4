"""A stack's machines as an inventory of Ansible's.

Source: https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.cli.inventory import Inventory
from scripts.cli.ssh import alias


def variables(inventory: Inventory, stack: str, config: Path) -> dict[str, dict[str, Any]]:
    """Return each machine's variables. Nothing of them is secret: login and host keys are in ssh's configuration."""
    found = {}
    for member in (*inventory.hubs.values(), *inventory.hosts.values()):
        found[member.name.replace("/", "-")] = {
            "ansible_host": alias(stack, member.name),
            "ansible_user": inventory.user,
            "ansible_ssh_common_args": f'-F "{config}"',
            "ansible_python_interpreter": "/usr/bin/python3",
            "vcubev_ipv4": member.ipv4,
            "vcubev_ipv6": member.ipv6,
            "vcubev_site": member.site,
            "vcubev_role": member.role or None,
            "vcubev_private": member.private,
        }
    return found


def groups(inventory: Inventory) -> dict[str, list[str]]:
    """Return group -> machines: hubs, hosts, private, and one for each site and role."""
    found: dict[str, list[str]] = {"hubs": [], "hosts": [], "private": []}
    for member in (*inventory.hubs.values(), *inventory.hosts.values()):
        name = member.name.replace("/", "-")
        found["hosts" if member.role else "hubs"].append(name)
        found.setdefault(_group("site", member.site), []).append(name)
        if member.role:
            found.setdefault(_group("role", member.role), []).append(name)
        if member.private:
            found["private"].append(name)
    return {group: sorted(names) for group, names in sorted(found.items())}


def listed(inventory: Inventory, stack: str, config: Path) -> dict[str, Any]:
    """Return what a dynamic inventory answers to --list."""
    return {
        "_meta": {"hostvars": variables(inventory, stack, config)},
        "all": {"children": [*groups(inventory)]},
        **{group: {"hosts": names} for group, names in groups(inventory).items()},
    }


def written(inventory: Inventory, stack: str, config: Path) -> Mapping[str, Any]:
    """Return the same as a file has it."""
    children = {group: {"hosts": dict.fromkeys(names)} for group, names in groups(inventory).items()}
    return {"all": {"hosts": variables(inventory, stack, config), "children": children}}


def _group(kind: str, name: str) -> str:
    """Ansible takes letters, digits and underscores."""
    return f"{kind}_{name.replace('-', '_')}"
