"""Firewalls, placement groups and reserved addresses of the emulated Linode."""

from __future__ import annotations

from typing import Any

from tests.clouds.linode_cloud import LinodeCloud, _held, page, route, shown
from tests.clouds.linode_state import Refused, Thing


def _firewall(cloud: LinodeCloud, ids: dict[str, str]) -> Thing:
    return _held(cloud.account.firewalls, ids["id"])


@route("GET /profile")
def get_profile(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return {"uid": 1, "username": "emulated", "email": "nobody@example.com"}


@route("GET /networking/firewalls")
def list_firewalls(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return page(cloud.account.firewalls.values())


@route("POST /networking/firewalls")
def create_firewall(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.account.unique(cloud.account.firewalls, body["label"])
    firewall = cloud.account.new(
        label=body["label"], rules=body["rules"], tags=body.get("tags", []), status="enabled", _devices=[]
    )
    _check_rules(body["rules"])
    for linode in body.get("devices", {}).get("linodes", []):
        _held(cloud.account.instances, str(linode))
        cloud.account.add_device(firewall, linode, "linode")
    cloud.account.firewalls[firewall["id"]] = firewall
    return shown(firewall)


def _check_rules(rules: Thing) -> None:
    for index, rule in enumerate(rules["inbound"]):
        field = f"rules.inbound[{index}]"
        if rule["protocol"] == "ICMP" and rule.get("ports"):
            raise Refused(400, "Ports are not allowed with ICMP", f"{field}.ports")
        if not any(rule["addresses"].values()):
            raise Refused(400, "Must name an address", f"{field}.addresses")
        if rule["action"] == "DROP":
            raise Refused(400, "the emulated Linode knows no rule that drops", f"{field}.action")


@route("GET /networking/firewalls/{id}")
def get_firewall(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return shown(_firewall(cloud, ids))


@route("PUT /networking/firewalls/{id}")
def put_firewall(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    firewall = _firewall(cloud, ids)
    cloud.account.unique(cloud.account.firewalls, body.get("label"), firewall["id"])
    firewall |= body
    return shown(firewall)


@route("DELETE /networking/firewalls/{id}")
def delete_firewall(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    del cloud.account.firewalls[_firewall(cloud, ids)["id"]]
    return {}


@route("PUT /networking/firewalls/{id}/rules")
def put_rules(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    _check_rules(body)
    _firewall(cloud, ids)["rules"] = body
    return body


@route("GET /networking/firewalls/{id}/devices")
def list_devices(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return page(_firewall(cloud, ids)["_devices"])


@route("POST /networking/firewalls/{id}/devices")
def create_device(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    firewall = _firewall(cloud, ids)
    if body["id"] not in cloud.account.instances:
        raise Refused(400, "No such Linode", "id")
    return cloud.account.add_device(firewall, body["id"], body["type"])


@route("GET /networking/firewalls/{id}/devices/{other}")
def get_device(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return _held({device["id"]: device for device in _firewall(cloud, ids)["_devices"]}, ids["other"])


@route("DELETE /networking/firewalls/{id}/devices/{other}")
def delete_device(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    _firewall(cloud, ids)["_devices"].remove(get_device(cloud, ids, body))
    return {}


@route("GET /placement/groups")
def list_groups(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return page(cloud.account.groups.values())


@route("POST /placement/groups")
def create_group(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.account.unique(cloud.account.groups, body["label"])
    group = cloud.account.new(**body, is_compliant=True, members=[], migrations=None)
    cloud.account.groups[group["id"]] = group
    return shown(group)


@route("GET /placement/groups/{id}")
def get_group(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return shown(_held(cloud.account.groups, ids["id"]))


@route("PUT /placement/groups/{id}")
def put_group(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    group = _held(cloud.account.groups, ids["id"])
    group |= body
    return shown(group)


@route("DELETE /placement/groups/{id}")
def delete_group(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    group = _held(cloud.account.groups, ids["id"])
    if group["members"]:
        raise Refused(400, "Linodes are still attached to this placement group")
    del cloud.account.groups[group["id"]]
    return {}


@route("POST /placement/groups/{id}/assign")
def assign(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    machines = [_held(cloud.account.instances, str(linode)) for linode in body["linodes"]]
    cloud.account.assign(int(ids["id"]), machines, body.get("compliant_only"))
    return get_group(cloud, ids, body)


@route("POST /placement/groups/{id}/unassign")
def unassign(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    group = _held(cloud.account.groups, ids["id"])
    group["members"] = [m for m in group["members"] if m["linode_id"] not in body["linodes"]]
    for linode in body["linodes"]:
        _held(cloud.account.instances, str(linode))["placement_group"] = None
    return shown(group)


@route("POST /networking/reserved/ips")
def reserve(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    address = cloud.account.addresses.take()
    made = {"address": address, "region": body["region"], "tags": body.get("tags", []), "reserved": True}
    made |= {"public": True, "type": "ipv4", "linode_id": None, "gateway": "", "subnet_mask": "255.255.255.0"}
    cloud.account.reserved[address] = made | {"prefix": 24, "rdns": ""}
    return cloud.account.reserved[address]


def _reserved(cloud: LinodeCloud, ids: dict[str, str]) -> Thing:
    if ids["id"] not in cloud.account.reserved:
        raise Refused(404, "Not found")
    return cloud.account.reserved[ids["id"]]


@route("GET /networking/reserved/ips/{id}")
def get_reserved(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return _reserved(cloud, ids)


@route("PUT /networking/reserved/ips/{id}")
def put_reserved(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    address = _reserved(cloud, ids)
    address |= body
    return address


@route("DELETE /networking/reserved/ips/{id}")
def delete_reserved(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    del cloud.account.reserved[_reserved(cloud, ids)["address"]]
    cloud.account.addresses.give_back(ids["id"])
    return {}
