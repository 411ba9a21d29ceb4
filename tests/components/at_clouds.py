"""Declares a mesh at clouds other than the lab, against the recording engine."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import Any

import pulumi

from components.clouds import known_clouds, sign_in
from components.mesh import Mesh, MeshArgs
from components.model.stackfile import load
from tests.components.declared import Recorder

OPERATOR = "192.0.2.128/25"
STACK = "s"  # the mocks' own name of the stack is "stack"; the mesh is named by this


def _linode(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    octet = zlib.crc32(name.encode()) % 200 + 10
    interfaces = [dict(interface) for interface in inputs["interfaces"]]
    for interface in interfaces:
        if interface["purpose"] == "vpc":
            interface.setdefault("ipv4", {"vpc": f"172.30.7.{octet}"})
    return {"interfaces": interfaces, "ipv4s": [f"203.0.113.{octet}"] if len(interfaces) > 1 else []}


def _hcloud(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    octet = zlib.crc32(name.encode()) % 200 + 10
    return {"networks": [{**network, "ip": f"172.30.7.{octet}"} for network in inputs["networks"]]}


OUTPUTS = {
    "linode:index/instance:Instance": _linode,
    "hcloud:index/server:Server": _hcloud,
    "hcloud:index/primaryIp:PrimaryIp": lambda name, inputs: {"ipAddress": f"198.51.100.{len(name)}"},
}


@dataclass
class CloudRecorder(Recorder):
    """Answers for clouds whose ids are numbers, too."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        identity, outputs = super().new_resource(args)
        if args.typ.split(":")[0] in ("linode", "hcloud"):
            identity = str(zlib.crc32(f"{args.typ}{args.name}".encode()))
        return identity, {**outputs, **OUTPUTS.get(args.typ, lambda name, inputs: {})(args.name, args.inputs)}


def site_values(cloud: str, region: str, **site: Any) -> dict[str, Any]:
    """Return a stack file's values: one site with a hub, a public and a private host."""
    return {
        "overlay": {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"},
        "roles": {"web": {"id": 1}},
        "operators": [OPERATOR],
        "sites": {
            "far": {
                "id": 7,
                "cloud": cloud,
                "region": region,
                "hubs": {"a": {"id": 1}},
                "hosts": {"web-1": {"role": "web", "id": 1}, "web-2": {"role": "web", "id": 2, "private": True}},
                **site,
            }
        },
    }


def declare_at_clouds(values: dict[str, Any], preview: bool = False) -> CloudRecorder:
    """Build the mesh of a stack file's values, signed in as the program does; return what it declared."""
    recorder = CloudRecorder()
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(recorder, preview=preview)
    topology = load(values, known_clouds())

    @pulumi.runtime.test
    def build() -> None:
        mesh = Mesh(STACK, MeshArgs(topology, sign_in(topology)))
        pulumi.export("outputs", mesh.stack_outputs())

    build()
    return recorder


def opened(rules: list[dict[str, Any]], ports: str, sources: str) -> dict[tuple[str, str], list[str]]:
    """Return (protocol, ports) -> who may come, of a firewall's rules in a cloud's own words."""
    return {(rule["protocol"].lower(), rule.get(ports, "")): sorted(rule[sources]) for rule in rules}
