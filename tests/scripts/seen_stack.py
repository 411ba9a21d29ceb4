"""What machines of the larger lab say when half of it is not well: answers as they come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from components.clouds import known_clouds
from components.model.stackfile import load_file
from scripts.cli.assemble import assemble
from scripts.cli.gather import Answer
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.snapshot import Host, Hub, Snapshot
from scripts.cli.stack import ROOT

TOPOLOGY = load_file(ROOT / "stacks" / "Pulumi.lab3.yaml", known_clouds())
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
MOMENT = 1000.0
SCHEMA = ROOT / "docs" / "status.schema.json"
LIVES = {
    "authority": "2036-11-20T12:00:00+00:00",
    "revocation_list": "2036-11-20T12:00:00+00:00",
    "earliest": {"name": "host.web-2", "end": "2026-12-14T12:00:00+00:00"},
    "revoked": {"17": "host.web-9"},
}
FACTS = {
    "hub": [
        "6.18.44",
        "OpenVPN 2.6.14 x86_64-pc-linux-gnu",
        "BIRD version 2.0.12",
        '[{"linkinfo":{"info_kind":"tun"}}]',
    ],
    "host": ["6.18.44", "OpenVPN 2.6.14 x86_64-pc-linux-gnu", '[{"linkinfo":{"info_kind":"tun"}}]'],
}


def inventory() -> Inventory:
    """Return the stack as its outputs have it."""
    hubs = {
        hub.key: Member(hub.key, hub.site, str(hub.address.ipv4), str(hub.address.ipv6), Access("192.0.2.1", "", ""))
        for hub in TOPOLOGY.hubs
    }
    hosts = {}
    for host in TOPOLOGY.hosts:
        gateway = next(hub.key for hub in TOPOLOGY.hubs if hub.site == host.hub_site) if host.private else ""
        access = Access("192.0.2.2", "", gateway)
        ends = (str(host.address.ipv4), str(host.address.ipv6))
        hosts[host.name] = Member(host.name, host.site, *ends, access, host.role, host.private)
    return Inventory(hubs, hosts, "", "", LIVES, ("web-9",))


def ago(seconds: float) -> float:
    return NOW.timestamp() - seconds


def hub_state(own: str, **changes: Any) -> dict[str, Any]:
    """Return what a hub's agent says that is well."""
    links = [
        {"id": hub.id, "peer": hub.key, "bgp": "Established", "bfd": "Up", "since": int(ago(7200))}
        for hub in TOPOLOGY.hubs
        if hub.key != own
    ]
    return {
        "fit": 1, "draining": 0, "reasons": [], "preferred": 2, "carried": 5, "sessions": 3, "peers": 3,
        "transports": {"udp": 5, "tcp": 0}, "links": links, "counted": {"accept": {"service db": 7}, "drop": {}},
        "ends": {"certificate": int(ago(-86_400 * 300)), "revocation_list": int(ago(-86_400 * 3648))},
        **changes,
    }  # fmt: skip


def path(hub: str, **changes: Any) -> dict[str, Any]:
    seen = {"transport": "udp", "alive": True, "fit": True, "stale": False, "rtt_ms": 12.34, "loss": 0.0}
    return {"hub": hub, **seen, **changes}


def host_state(first: dict[str, Any], second: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what a host's agent says whose traffic goes by the first of two paths."""
    return {
        "active": 1, "claimed": True, "number": 4, "rival": False, "switches": 0, "paths": {"1": first, "2": second},
        "hubs": {hub.key: {"rtt_ms": 20.0 * hub.id, "fit": True} for hub in TOPOLOGY.hubs},
        "since": ago(9000), "moves": {}, "last_move": None,
        "ends": {"certificate": int(ago(-86_400 * 20)), "authority": int(ago(-86_400 * 3648))},
        "counted": {"accept": {}, "drop": {"no service": 0}},
        **changes,
    }  # fmt: skip


def heard(state: dict[str, Any], kind: str, **more: Any) -> Answer:
    return Answer(state, 2, facts=FACTS[kind], why="", asked=MOMENT - 1, answered=MOMENT - 0.9, **more)


def answers() -> dict[str, Answer]:
    """oregon/b has no power, paris/a is drained, tokyo/a's agent is dead; what hung on them shows it."""
    lost = {"rtt_ms": None, "fit": True}
    moved = {"at": ago(95.0), "from": "oregon/b", "to": "oregon/a", "reason": "silent", "outage_ms": 345}
    down = [{"id": 2, "peer": "oregon/b", "bgp": "Connect", "bfd": "Down", "since": int(ago(95))}]
    links = [*down, *(link for link in hub_state("oregon/a")["links"] if link["peer"] != "oregon/b")]
    found = {name: Answer(why="no answer within 5 s") for name in (*inventory().hubs, *inventory().hosts)}
    routes = [{"dst": "10.101.2.1", "metric": 4}, {"dst": "10.101.1.2", "metric": 1}]
    found["oregon/a"] = heard(
        hub_state("oregon/a", links=links), "hub", routes=routes,
        link_ms={"oregon/b": None, "paris/a": 61.2, "tokyo/a": 140.0},
    )  # fmt: skip
    drained = {"fit": 0, "draining": 1, "reasons": ["draining"], "preferred": 0, "carried": 0, "transports": {}}
    state = hub_state("paris/a", **drained, links=links[:1])
    found["paris/a"] = heard(state, "hub", routes=[], link_ms={"oregon/a": 62.0})
    found["tokyo/a"] = heard(hub_state("tokyo/a"), "hub", routes=[{"dst": "10.101.1.2", "metric": 4}])
    found["tokyo/a"].age_seconds = 300
    web = host_state(
        path("oregon/a"), path("paris/a", rtt_ms=61.0, loss=0.031),
        hubs={"oregon/a": {"rtt_ms": 11.0, "fit": True}, "oregon/b": lost, "tokyo/a": {"rtt_ms": 131.5, "fit": True}},
        since=moved["at"], moves={"silent": 1, "better": 2}, last_move=moved, counted={"drop": {"no service": 12}},
    )  # fmt: skip
    found["web-1"] = heard(web, "host", host_ms={("web-1", "db-1", "ipv4"): 0.4, ("web-1", "db-1", "ipv6"): None})
    cut = host_state(path("oregon/b", alive=False), path("paris/a", alive=False, rtt_ms=70.0))
    found["db-2"] = heard(cut, "host")
    found["db-2"].facts = ["6.1.0", *FACTS["host"][1:]]
    found["web-3"] = heard({}, "host")
    return found


def snapshot(changed: dict[str, Answer] | None = None, moment: float = MOMENT) -> Snapshot:
    return assemble("lab3", inventory(), TOPOLOGY, {**answers(), **(changed or {})}, NOW, moment)


def of(found: Snapshot, name: str) -> Hub | Host:
    return next(member for member in (*found.hubs, *found.hosts) if member.name == name)
