"""What the emulated Linode takes: schemas of the request bodies of the operations that we use, and what it offers.

Names and types of fields, and most of what is required, are those of the request structs of linode/linodego (676b9db,
August 2026). Linode's own OpenAPI description (linode/linode-api-openapi, 9 MB) was looked into in places at most, and
nothing here was compared with it by machine. Lengths, patterns and counts are written by hand, from the documentation
as its writer knew it. There are fewer fields than the API has; one that is not here is refused, so that it is noticed.
Regions are those of recordings of the API in linodego; types and images are a choice of ours.
"""

from __future__ import annotations

from typing import Any

REGIONS = (
    "ap-south",
    "ap-southeast",
    "ap-west",
    "au-mel",
    "br-gru",
    "ca-central",
    "de-fra-2",
    "es-mad",
    "eu-central",
    "eu-west",
    "fr-par",
    "fr-par-2",
    "gb-lon",
    "id-cgk",
    "in-bom-2",
    "in-maa",
    "it-mil",
    "jp-osa",
    "jp-tyo-3",
    "nl-ams",
    "no-osl-1",
    "se-sto",
    "sg-sin-2",
    "us-central",
    "us-east",
    "us-iad",
    "us-iad-2",
    "us-lax",
    "us-mia",
    "us-ord",
    "us-sea",
    "us-southeast",
    "us-west",
    "ap-northeast",
)
TYPES = (
    "g6-nanode-1",
    "g6-standard-1",
    "g6-standard-2",
    "g6-standard-4",
    "g6-standard-6",
    "g6-dedicated-2",
    "g6-dedicated-4",
    "g6-dedicated-8",
)
IMAGES = (
    "linode/debian12",
    "linode/debian13",
    "linode/ubuntu24.04",
)
Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def label(longest: int, shortest: int = 3, pattern: str = r"^[a-zA-Z0-9]((?!--|__|\.\.)[a-zA-Z0-9_.-])*$") -> Schema:
    """Labels begin with a letter or digit, and have no two of the same separator in a row."""
    return {"type": "string", "minLength": shortest, "maxLength": longest, "pattern": pattern}


def record(required: str = "", **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


TAGS = many({"type": "string", "minLength": 3, "maxLength": 50})
ADDRESSES = record("", ipv4=many(STRING, maxItems=255), ipv6=many(STRING, maxItems=255))
RULE = record(
    "protocol action addresses label",
    action=one_of("ACCEPT", "DROP"),
    label=label(32),
    description={"type": "string", "minLength": 1, "maxLength": 100},
    ports={"type": "string", "pattern": r"^\d{1,5}(-\d{1,5})?(, ?\d{1,5}(-\d{1,5})?){0,14}$"},
    protocol=one_of("TCP", "UDP", "ICMP", "IPENCAP"),
    addresses=ADDRESSES,
)
RULES = record(
    "inbound inbound_policy outbound outbound_policy",
    inbound=many(RULE, maxItems=25),
    outbound=many(RULE, maxItems=25),
    inbound_policy=one_of("ACCEPT", "DROP"),
    outbound_policy=one_of("ACCEPT", "DROP"),
)
CONFIG_INTERFACE = record(
    "purpose",
    purpose=one_of("public", "vlan", "vpc"),
    label={"type": ["string", "null"], "maxLength": 64},
    ipam_address={"type": ["string", "null"]},
    primary=BOOLEAN,
    subnet_id=INTEGER,
    ipv4=record("", vpc=STRING, nat_1_1=STRING),
    ip_ranges=many(STRING),
)
LINODE_INTERFACE = record(
    "",
    firewall_id={"type": ["integer", "null"]},
    default_route=record("", ipv4=BOOLEAN, ipv6=BOOLEAN),
    public=record("", ipv4=record("", addresses=many(record("", address=STRING, primary=BOOLEAN)))),
    vpc=record(
        "subnet_id",
        subnet_id=INTEGER,
        ipv4=record(
            "",
            addresses=many(record("", address=STRING, primary=BOOLEAN, nat_1_1_address=STRING)),
            ranges=many(record("range", range=STRING)),
        ),
    ),
    vlan=record("vlan_label", vlan_label=STRING, ipam_address=STRING),
)
BODIES: dict[str, Schema] = {
    "POST /linode/instances": record(
        "region type",
        region=one_of(*REGIONS),
        type=one_of(*TYPES),
        label=label(64),
        tags=TAGS,
        image=one_of(*IMAGES),
        root_pass={"type": "string", "minLength": 11, "maxLength": 128},
        authorized_keys=many({"type": "string", "pattern": r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) \S+"}),
        authorized_users=many(STRING),
        metadata=record("", user_data={"type": ["string", "null"], "maxLength": 65535}),
        firewall_id=INTEGER,
        private_ip=BOOLEAN,
        placement_group=record("id", id=INTEGER, compliant_only=BOOLEAN),
        booted=BOOLEAN,
        swap_size=INTEGER,
        backups_enabled=BOOLEAN,
        disk_encryption=one_of("enabled", "disabled"),
        network_helper=BOOLEAN,
        ipv4=many(STRING),
        interface_generation=one_of("legacy_config", "linode"),
        interfaces=many({"anyOf": [CONFIG_INTERFACE, LINODE_INTERFACE]}, maxItems=3),
    ),
    "PUT /linode/instances/{id}": record("", label=label(64), tags=TAGS, watchdog_enabled=BOOLEAN),
    "POST /linode/instances/{id}/boot": record(""),
    "POST /linode/instances/{id}/shutdown": record(""),
    "POST /linode/instances/{id}/resize": record(
        "type", type=one_of(*TYPES), migration_type=one_of("cold", "warm"), allow_auto_disk_resize=BOOLEAN
    ),
    "POST /vpcs": record(
        "label region",
        label=label(64, 1, r"^[a-zA-Z0-9]((?!--)[a-zA-Z0-9-])*$"),
        region=one_of(*REGIONS),
        description=STRING,
    ),
    "PUT /vpcs/{id}": record("", label=label(64, 1, r"^[a-zA-Z0-9]((?!--)[a-zA-Z0-9-])*$"), description=STRING),
    "POST /vpcs/{id}/subnets": record(
        "label ipv4", label=label(64, 1, r"^[a-zA-Z0-9]((?!--)[a-zA-Z0-9-])*$"), ipv4=STRING
    ),
    "PUT /vpcs/{id}/subnets/{other}": record("label", label=label(64, 1, r"^[a-zA-Z0-9]((?!--)[a-zA-Z0-9-])*$")),
    "POST /networking/firewalls": record(
        "label rules",
        label=label(32),
        rules=RULES,
        tags=TAGS,
        devices=record("", linodes=many(INTEGER), linode_interfaces=many(INTEGER)),
    ),
    "PUT /networking/firewalls/{id}": record("", label=label(32), tags=TAGS, status=one_of("enabled", "disabled")),
    "PUT /networking/firewalls/{id}/rules": RULES,
    "POST /networking/firewalls/{id}/devices": record(
        "id type", id=INTEGER, type=one_of("linode", "linode_interface", "nodebalancer")
    ),
    "POST /placement/groups": record(
        "label region placement_group_type placement_group_policy",
        label=label(64, 1),
        region=one_of(*REGIONS),
        placement_group_type=one_of("anti_affinity:local"),
        placement_group_policy=one_of("strict", "flexible"),
    ),
    "PUT /placement/groups/{id}": record("label", label=label(64, 1)),
    "POST /placement/groups/{id}/assign": record("linodes", linodes=many(INTEGER), compliant_only=BOOLEAN),
    "POST /placement/groups/{id}/unassign": record("linodes", linodes=many(INTEGER)),
    "POST /networking/reserved/ips": record("region", region=one_of(*REGIONS), tags=TAGS),
    "PUT /networking/reserved/ips/{id}": record("", tags=TAGS),
}
