"""VPC, subnets, firewalls, placement groups and reserved addresses.

What replaces: `RequiresReplace` in terraform-provider-linode v3 (6aef35f) linode/{vpc,vpcsubnet,firewall,
firewalldevice,placementgroup,networkreservedip}/framework_*schema*.go.
"""

from __future__ import annotations

from .cloud_kinds import Kind, Plain, words
from .linode_api import LinodeApi, given

FIREWALLS = "/networking/firewalls"


def create_vpc(api: LinodeApi, inputs: Plain) -> str:
    wanted = given(label=inputs["label"], region=inputs["region"], description=inputs.get("description"))
    return str(api.post("/vpcs", **wanted)["id"])


def read_vpc(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    vpc = api.get(f"/vpcs/{made}")
    return vpc and {name: vpc.get(name) for name in ("label", "region", "description", "created", "updated")}


def update_vpc(api: LinodeApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.put(f"/vpcs/{made}", label=inputs["label"], description=inputs.get("description") or "")


def create_subnet(api: LinodeApi, inputs: Plain) -> str:
    wanted = given(label=inputs["label"], ipv4=inputs.get("ipv4"))
    return str(api.post(f"/vpcs/{inputs['vpcId']}/subnets", **wanted)["id"])


def _subnet(made: str, state: Plain) -> str:
    return f"/vpcs/{state['vpcId']}/subnets/{made}"


def read_subnet(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    subnet = api.get(_subnet(made, state))
    return subnet and {
        "vpcId": int(state["vpcId"]),
        "label": subnet["label"],
        "ipv4": subnet["ipv4"],
        "created": subnet["created"],
        "updated": subnet["updated"],
        "linodes": [
            {"id": linode["id"], "interfaces": [{"id": i["id"], "active": i["active"]} for i in linode["interfaces"]]}
            for linode in subnet["linodes"]
        ],
    }


def update_subnet(api: LinodeApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.put(_subnet(made, state), label=inputs["label"])


def _rules(inputs: Plain) -> Plain:
    return {
        "inbound": [_rule(rule) for rule in inputs.get("inbounds") or []],
        "outbound": [_rule(rule) for rule in inputs.get("outbounds") or []],
        "inbound_policy": inputs["inboundPolicy"],
        "outbound_policy": inputs["outboundPolicy"],
    }


def _rule(rule: Plain) -> Plain:
    addresses = given(ipv4=rule.get("ipv4s") or None, ipv6=rule.get("ipv6s") or None)
    told = {name: rule[name] for name in ("action", "label", "protocol")}
    more = given(ports=rule.get("ports"), description=rule.get("description"))
    return {**told, **more, "addresses": addresses}


def _rule_output(rule: Plain) -> Plain:
    addresses = rule.get("addresses") or {}
    told = {name: rule[name] for name in ("action", "label", "protocol")}
    more = given(ports=rule.get("ports") or None, description=rule.get("description") or None)
    return {**told, **more, **given(ipv4s=addresses.get("ipv4"), ipv6s=addresses.get("ipv6"))}


def create_firewall(api: LinodeApi, inputs: Plain) -> str:
    devices = given(linodes=inputs.get("linodes"), linode_interfaces=inputs.get("interfaces"))
    body = given(label=inputs["label"], tags=inputs.get("tags"), devices=devices or None)
    made = str(api.post(FIREWALLS, rules=_rules(inputs), **body)["id"])
    if inputs["disabled"]:
        api.put(f"{FIREWALLS}/{made}", status="disabled")
    return made


def _devices(api: LinodeApi, made: str) -> list[Plain]:
    return api.every(f"{FIREWALLS}/{made}/devices")


def read_firewall(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    firewall = api.get(f"{FIREWALLS}/{made}")
    if firewall is None:
        return None
    rules = firewall["rules"]
    devices = _devices(api, made)
    return {
        "label": firewall["label"],
        "status": firewall["status"],
        "disabled": firewall["status"] == "disabled",
        "tags": firewall["tags"],
        "created": firewall["created"],
        "updated": firewall["updated"],
        "inbounds": [_rule_output(rule) for rule in rules["inbound"]],
        "outbounds": [_rule_output(rule) for rule in rules["outbound"]],
        "inboundPolicy": rules["inbound_policy"],
        "outboundPolicy": rules["outbound_policy"],
        "linodes": sorted(d["entity"]["id"] for d in devices if d["entity"]["type"] == "linode"),
        "devices": [
            {"id": d["id"], "entityId": d["entity"]["id"], "type": d["entity"]["type"], "label": d["entity"]["label"]}
            for d in devices
        ],
    }


def update_firewall(api: LinodeApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    if changed & {"label", "tags", "disabled"}:
        status = "disabled" if inputs["disabled"] else "enabled"
        api.put(f"{FIREWALLS}/{made}", label=inputs["label"], tags=inputs.get("tags") or [], status=status)
    if changed & {"inbounds", "outbounds", "inboundPolicy", "outboundPolicy"}:
        api.put(f"{FIREWALLS}/{made}/rules", **_rules(inputs))
    if "linodes" in changed and "linodes" in inputs:
        wanted, held = set(inputs["linodes"] or []), {d["entity"]["id"]: d["id"] for d in _devices(api, made)}
        for linode in sorted(held.keys() - wanted):
            api.remove(f"{FIREWALLS}/{made}/devices/{held[linode]}")
        for linode in sorted(wanted - held.keys()):
            api.post(f"{FIREWALLS}/{made}/devices", id=linode, type="linode")


def _device(made: str, state: Plain) -> str:
    return f"{FIREWALLS}/{state['firewallId']}/devices/{made}"


def create_device(api: LinodeApi, inputs: Plain) -> str:
    wanted = {"id": inputs["entityId"], "type": inputs["entityType"]}
    return str(api.post(f"{FIREWALLS}/{inputs['firewallId']}/devices", **wanted)["id"])


def read_device(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    device = api.get(_device(made, state))
    return device and {
        "entityId": device["entity"]["id"],
        "entityType": device["entity"]["type"],
        "created": device["created"],
        "updated": device["updated"],
    }


def create_group(api: LinodeApi, inputs: Plain) -> str:
    wanted = {
        "label": inputs["label"],
        "region": inputs["region"],
        "placement_group_type": inputs["placementGroupType"],
        "placement_group_policy": inputs["placementGroupPolicy"],
    }
    return str(api.post("/placement/groups", **wanted)["id"])


def read_group(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    group = api.get(f"/placement/groups/{made}")
    return group and {
        "label": group["label"],
        "region": group["region"],
        "placementGroupType": group["placement_group_type"],
        "placementGroupPolicy": group["placement_group_policy"],
        "isCompliant": group["is_compliant"],
        "members": [{"linodeId": m["linode_id"], "isCompliant": m["is_compliant"]} for m in group["members"]],
    }


def update_group(api: LinodeApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.put(f"/placement/groups/{made}", label=inputs["label"])


def create_reserved(api: LinodeApi, inputs: Plain) -> str:
    wanted = given(region=inputs["region"], tags=inputs.get("tags"))
    return api.post("/networking/reserved/ips", **wanted)["address"]


def read_reserved(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    address = api.get(f"/networking/reserved/ips/{made}")
    return address and {
        "address": address["address"],
        "region": address["region"],
        "reserved": address["reserved"],
        "public": address["public"],
        "type": address["type"],
        "linodeId": address.get("linode_id"),
        "gateway": address["gateway"],
        "subnetMask": address["subnet_mask"],
        "prefix": address["prefix"],
        "rdns": address["rdns"],
        "tags": address.get("tags"),
    }


def update_reserved(api: LinodeApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.put(f"/networking/reserved/ips/{made}", tags=inputs.get("tags") or [])


KINDS = {
    "linode:index/vpc:Vpc": Kind(
        resource="pulumi_linode.vpc:Vpc",
        create=create_vpc,
        read=read_vpc,
        update=update_vpc,
        delete=lambda api, made, state: api.remove(f"/vpcs/{made}"),
        in_place=words("label description"),
        replaces=words("region"),
        computed=words("description"),
    ),
    "linode:index/vpcSubnet:VpcSubnet": Kind(
        resource="pulumi_linode.vpc_subnet:VpcSubnet",
        create=create_subnet,
        read=read_subnet,
        update=update_subnet,
        delete=lambda api, made, state: api.remove(_subnet(made, state)),
        in_place=words("label"),
        replaces=words("ipv4 vpcId"),
    ),
    "linode:index/firewall:Firewall": Kind(
        resource="pulumi_linode.firewall:Firewall",
        create=create_firewall,
        read=read_firewall,
        update=update_firewall,
        delete=lambda api, made, state: api.remove(f"{FIREWALLS}/{made}"),
        in_place=words("label tags disabled inbounds outbounds inboundPolicy outboundPolicy linodes"),
        computed=words("linodes"),
        unordered=words("tags linodes"),
        defaults={"disabled": False},
        choices={
            "inboundPolicy": lambda api: ("ACCEPT", "DROP"),
            "outboundPolicy": lambda api: ("ACCEPT", "DROP"),
        },
    ),
    "linode:index/firewallDevice:FirewallDevice": Kind(
        resource="pulumi_linode.firewall_device:FirewallDevice",
        create=create_device,
        read=read_device,
        delete=lambda api, made, state: api.remove(_device(made, state)),
        replaces=words("entityId entityType firewallId"),
        defaults={"entityType": "linode"},
        choices={"entityType": lambda api: ("linode", "nodebalancer", "linode_interface")},
    ),
    "linode:index/placementGroup:PlacementGroup": Kind(
        resource="pulumi_linode.placement_group:PlacementGroup",
        create=create_group,
        read=read_group,
        update=update_group,
        delete=lambda api, made, state: api.remove(f"/placement/groups/{made}"),
        in_place=words("label"),
        replaces=words("region placementGroupType placementGroupPolicy"),
        defaults={"placementGroupPolicy": "strict"},
        choices={
            "placementGroupType": lambda api: ("anti_affinity:local",),
            "placementGroupPolicy": lambda api: ("strict", "flexible"),
        },
    ),
    "linode:index/reservedIp:ReservedIp": Kind(
        resource="pulumi_linode.reserved_ip:ReservedIp",
        create=create_reserved,
        read=read_reserved,
        update=update_reserved,
        delete=lambda api, made, state: api.remove(f"/networking/reserved/ips/{made}"),
        in_place=words("tags"),
        replaces=words("region"),
        unordered=words("tags"),
    ),
}
