"""What an emulated Linode account holds, and the rules between its things."""

from __future__ import annotations

import base64
import itertools
import threading
from ipaddress import IPv4Network
from typing import Any

from lab.records import Rule
from tests.clouds.bridge import EVERYTHING, PublicAddresses, Wanted

Thing = dict[str, Any]
TIME = "2026-11-24T00:00:00"
SPECS = {"disk": 25600, "gpus": 0, "memory": 1024, "transfer": 1000, "vcpus": 1, "accelerated_devices": 0}
# Machines without a VPC stand in a network that all customers share.
SHARED = "192.168.128.0/17"


class Refused(Exception):
    """An answer other than 200; `field` as the API names it."""

    def __init__(self, status: int, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.field = status, reason, field


class Account:
    """Things by id; each as the API shows it, with what it does not show under names that begin with "_"."""

    def __init__(self, addresses: PublicAddresses) -> None:
        self.addresses, self.lock, self._ids = addresses, threading.RLock(), itertools.count(100001)
        self.instances: dict[int, Thing] = {}
        self.vpcs: dict[int, Thing] = {}
        self.firewalls: dict[int, Thing] = {}
        self.groups: dict[int, Thing] = {}
        self.reserved: dict[str, Thing] = {}

    def new(self, **more: Any) -> Thing:
        return {"id": next(self._ids), "created": TIME, "updated": TIME, **more}

    def subnets(self) -> dict[int, Thing]:
        return {subnet["id"]: subnet for vpc in self.vpcs.values() for subnet in vpc["subnets"]}

    def unique(self, things: dict[int, Thing], label: str | None, but: int | None = None) -> None:
        if label and any(t["label"] == label and t["id"] != but for t in things.values()):
            raise Refused(400, "Label must be unique among your resources of this kind", "label")

    def create_instance(self, body: Thing) -> Thing:
        self.unique(self.instances, body.get("label"))
        if body.get("image") and not (body.get("root_pass") or body.get("authorized_keys")):
            raise Refused(400, "root_pass or authorized_keys is required", "root_pass")
        firewall = body.get("firewall_id")
        if firewall is not None and firewall not in self.firewalls:
            raise Refused(400, "Invalid firewall_id", "firewall_id")
        generation = body.get("interface_generation", "legacy_config")
        if generation == "linode" and firewall is not None:
            raise Refused(400, "Must be set on the interfaces", "firewall_id")
        made = self.new(label="", region=body["region"], type=body["type"], image=body.get("image"))
        made |= {
            "label": body.get("label") or f"linode{made['id']}",
            "tags": body.get("tags", []),
            "status": "provisioning",
            "has_user_data": bool(body.get("metadata", {}).get("user_data")),
            "host_uuid": f"{made['id']:040x}",
            "capabilities": [],
            "specs": SPECS,
            "watchdog_enabled": True,
            "disk_encryption": body.get("disk_encryption", "enabled"),
            "interface_generation": generation,
            "placement_group": None,
            "ipv6": f"2001:db8::{made['id'] % 65536:x}/128",
            "hypervisor": "kvm",
            "_user_data": _user_data(body),
            "_boots": body.get("booted", True),
            "_boot_fails": False,
            "_interfaces": [],
            "_public": [],
        }
        self._interfaces(made, body, generation)
        if group := body.get("placement_group"):
            self.assign(group["id"], [made], group.get("compliant_only"))
        if firewall is not None:
            self.add_device(self.firewalls[firewall], made["id"], "linode")
        self.instances[made["id"]] = made
        return made

    def _interfaces(self, made: Thing, body: Thing, generation: str) -> None:
        given = body.get("interfaces") or [{"purpose": "public"} if generation == "legacy_config" else {"public": {}}]
        for index, one in enumerate(given):
            if ("purpose" in one) != (generation == "legacy_config"):
                raise Refused(400, f"Not an interface of generation {generation}", f"interfaces[{index}]")
            purpose = one.get("purpose") or next(k for k in ("public", "vpc", "vlan") if k in one)
            held = {"id": next(self._ids), "active": True, "purpose": purpose, "primary": one.get("primary", False)}
            held |= {"label": one.get("label"), "ipam_address": None, "_generation": generation, "_given": one}
            if purpose == "public":
                wanted = body.get("ipv4") or []
                address = wanted[0] if wanted else self.addresses.take()
                if wanted and self.reserved.get(address, {}).get("region") != body["region"]:
                    raise Refused(400, "Not a reserved address of yours in this region", "ipv4")
                made["_public"].append(address)
            elif purpose == "vpc":
                ipv4 = one.get("ipv4") or {}
                inner = one.get("vpc", {}).get("ipv4", {}).get("addresses") or [{}]
                chosen = ipv4.get("vpc") or inner[0].get("address")
                subnet_id = one.get("subnet_id") or one.get("vpc", {}).get("subnet_id")
                subnet = self.subnets().get(subnet_id)
                if subnet is None or subnet["_region"] != body["region"]:
                    raise Refused(400, "No such subnet in this region", f"interfaces[{index}].subnet_id")
                chosen = None if chosen == "auto" else chosen
                held |= {"subnet_id": subnet_id, "vpc_id": subnet["_vpc"], "ip_ranges": one.get("ip_ranges", [])}
                held["ipv4"] = {"vpc": self._private(subnet, chosen, made), "nat_1_1": ipv4.get("nat_1_1")}
            made["_interfaces"].append(held)
            if generation == "linode" and one.get("firewall_id"):
                if one["firewall_id"] not in self.firewalls:
                    raise Refused(400, "Invalid firewall_id", f"interfaces[{index}].firewall_id")
                held["firewall_id"] = one["firewall_id"]
        made["ipv4"] = list(made["_public"])

    def _private(self, subnet: Thing, chosen: str | None, made: Thing) -> str:
        prefix = IPv4Network(subnet["ipv4"])
        every = [*self.instances.values(), made]
        taken = {i["ipv4"]["vpc"] for m in every for i in m["_interfaces"] if i.get("subnet_id") == subnet["id"]}
        # Linode keeps the first two and the last two of a subnet.
        free = [str(a) for a in list(prefix)[2:-2] if str(a) not in taken]
        if chosen and chosen not in free:
            raise Refused(400, f"{chosen} is taken or outside of {prefix}", "interfaces.ipv4.vpc")
        return chosen or free[0]

    def delete_instance(self, made: Thing) -> None:
        for firewall in self.firewalls.values():
            firewall["_devices"] = [d for d in firewall["_devices"] if d["entity"]["id"] != made["id"]]
        for group in self.groups.values():
            group["members"] = [m for m in group["members"] if m["linode_id"] != made["id"]]
        for address in made["_public"]:
            if address not in self.reserved:
                self.addresses.give_back(address)
        del self.instances[made["id"]]

    def assign(self, group_id: int, machines: list[Thing], compliant_only: bool | None) -> None:
        group = self.groups.get(group_id)
        if group is None or any(m["region"] != group["region"] for m in machines):
            raise Refused(400, "No such placement group in this region", "placement_group.id")
        if len(group["members"]) + len(machines) > 5:
            raise Refused(400, "A placement group holds five Linodes", "placement_group.id")
        for machine in machines:
            group["members"].append({"linode_id": machine["id"], "is_compliant": True})
            names = ("id", "label", "placement_group_type", "placement_group_policy")
            machine["placement_group"] = {name: group[name] for name in names}

    def add_device(self, firewall: Thing, entity: int, kind: str) -> Thing:
        if any(d["entity"]["id"] == entity for f in self.firewalls.values() for d in f["_devices"]):
            raise Refused(400, "This device already has a firewall", "id")
        device = self.new(entity={"id": entity, "type": kind, "label": None, "url": f"/v4/linode/instances/{entity}"})
        firewall["_devices"].append(device)
        return device

    def members(self, subnet_id: int) -> list[Thing]:
        return [
            {"id": m["id"], "interfaces": [{"id": i["id"], "active": True, "config_id": m["id"]}]}
            for m in self.instances.values()
            for i in m["_interfaces"]
            if i.get("subnet_id") == subnet_id
        ]

    def look(self) -> list[Wanted]:
        with self.lock:
            return [self._wanted(machine) for machine in self.instances.values() if _runs(machine)]

    def _wanted(self, machine: Thing) -> Wanted:
        vpc = _vpc_of(machine)
        site = self.vpcs[vpc] if vpc else None
        prefix = site["subnets"][0]["ipv4"] if site else SHARED
        return Wanted(
            key=str(machine["id"]),
            site=f"vpc-{vpc}" if vpc else f"region-{machine['region']}",
            private_prefix=prefix,
            private_address=_private_of(machine),
            public_address=next(iter(machine["_public"]), ""),
            user_data=machine["_user_data"],
            rules=tuple(self._rules(machine)),
            running=machine["status"] in ("running", "booting", "provisioning"),
        )

    def _rules(self, machine: Thing) -> list[Rule]:
        ids = {i["firewall_id"] for i in machine["_interfaces"] if i.get("firewall_id")}
        guards = [
            f
            for f in self.firewalls.values()
            if f["status"] == "enabled"
            and (f["id"] in ids or any(d["entity"]["id"] == machine["id"] for d in f["_devices"]))
        ]
        if not guards or any(f["rules"]["inbound_policy"] == "ACCEPT" for f in guards):
            return EVERYTHING
        return [_lab_rule(rule) for f in guards for rule in f["rules"]["inbound"] if rule["action"] == "ACCEPT"]


def _lab_rule(rule: Thing) -> Rule:
    protocol, ports = rule["protocol"].lower(), [p.strip() for p in rule.get("ports", "").split(",") if p.strip()]
    sources = rule["addresses"].get("ipv4", [])
    return Rule(protocol=protocol, ports=[] if protocol == "icmp" else ports or ["1-65535"], sources=sources)


def _runs(machine: Thing) -> bool:
    return machine["_boots"] and not machine["_boot_fails"]


def _vpc_of(machine: Thing) -> int | None:
    return next((i["vpc_id"] for i in machine["_interfaces"] if i["purpose"] == "vpc"), None)


def _private_of(machine: Thing) -> str:
    return next((i["ipv4"]["vpc"] for i in machine["_interfaces"] if i["purpose"] == "vpc"), "")


def _user_data(body: Thing) -> str:
    encoded = body.get("metadata", {}).get("user_data") or ""
    try:
        plain = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Refused(400, "user_data must be base64-encoded", "metadata.user_data") from None
    if len(plain) > 16384:
        raise Refused(400, "user_data is longer than 16384 bytes decoded", "metadata.user_data")
    return plain.decode()
