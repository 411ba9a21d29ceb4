"""Addresses, configuration profiles and interfaces of the emulated Linode's instances."""

from __future__ import annotations

from typing import Any

from tests.clouds.linode_cloud import LinodeCloud, page, route, shown
from tests.clouds.linode_state import Thing


@route("GET /linode/instances/{id}/ips")
def instance_ips(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    machine = cloud.instance(ids)
    inside = [{"address": i["ipv4"]["vpc"], "vpc_id": i["vpc_id"]} for i in machine["_interfaces"] if "vpc_id" in i]
    public = [{"address": address, "public": True, "type": "ipv4"} for address in machine["_public"]]
    return {"ipv4": {"public": public, "private": [], "shared": [], "reserved": [], "vpc": inside}, "ipv6": {}}


@route("GET /linode/instances/{id}/configs")
def instance_configs(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    machine = cloud.instance(ids)
    return page([{"id": machine["id"], "label": "config", "interfaces": [shown(i) for i in machine["_interfaces"]]}])


@route("GET /linode/instances/{id}/interfaces")
def instance_interfaces(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    found = []
    machine = cloud.instance(ids)
    for one in machine["_interfaces"]:
        held = {"id": one["id"], "firewall_id": one.get("firewall_id")}
        held["default_route"] = one["_given"].get("default_route", {"ipv4": True, "ipv6": True})
        if one["purpose"] == "public":
            held["public"] = {"ipv4": {"addresses": [{"address": a, "primary": True} for a in machine["_public"]]}}
        elif one["purpose"] == "vpc":
            address = {"address": one["ipv4"]["vpc"], "primary": True, "nat_1_1_address": None}
            held["vpc"] = {"subnet_id": one["subnet_id"], "vpc_id": one["vpc_id"], "ipv4": {"addresses": [address]}}
        found.append(held)
    return {"interfaces": found}
