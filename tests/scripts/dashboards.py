"""A board of stack lab3, with what its machines would tell."""

from __future__ import annotations

from components.clouds import known_clouds
from components.model.stackfile import load_file
from scripts.cli.dashboard.board import Board
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.stack import ROOT

NOW = 1_800_000_000.0
TOPOLOGY = load_file(ROOT / "stacks" / "Pulumi.lab3.yaml", known_clouds())


def _member(view, **more):
    name = view.key if hasattr(view, "key") else view.name
    return Member(name, view.site, str(view.address.ipv4), str(view.address.ipv6), Access("198.18.0.1", "", ""), **more)


def inventory():
    hubs = {hub.key: _member(hub) for hub in TOPOLOGY.hubs}
    hosts = {host.name: _member(host, role=host.role, private=host.private) for host in TOPOLOGY.hosts}
    return Inventory(hubs, hosts, "vcubev", "")


def hub_tells(hub, down=(), **more):
    """Return what a hub's agent tells; `down`: keys of hubs to which its links are down."""
    links = [
        {"id": peer.id, "peer": peer.key, "bgp": "Active" if cut else "Established", "bfd": "Down" if cut else "Up"}
        for link in TOPOLOGY.links
        for own, peer in ((link.listener, link.dialer), (link.dialer, link.listener))
        if own.key == hub
        for cut in [peer.key in down]
    ]
    sessions = sum(link["bgp"] == "Established" for link in links)
    counted = {"drop": {"no service": 3}, "accept": {}}
    told = {"fit": 1, "draining": 0, "reasons": [], "preferred": 2, "carried": 4, "counted": counted}
    return {**told, "links": links, "sessions": sessions, "peers": len(links), **more}


def host_tells(carrier, spare, alive=True, **more):
    paths = {
        "1": {"hub": carrier, "transport": "udp", "alive": alive, "fit": True, "rtt_ms": 12.5, "loss": 0.0},
        "2": {"hub": spare, "transport": "udp", "alive": True, "fit": True, "rtt_ms": 80.0, "loss": 0.01},
    }
    hubs = {carrier: {"rtt_ms": 11.0, "fit": True}, "tokyo/a": {"rtt_ms": 140.0, "fit": True}}
    return {"active": 1, "claimed": True, "paths": paths, "hubs": hubs, "since": NOW - 60, "last_move": None, **more}


def routes(*hosts):
    return {str(host.address.ipv4): 10 for host in TOPOLOGY.hosts if host.name in hosts}


def well():
    """Return a board on which all is well, and which has been looked at."""
    board = Board("lab3", TOPOLOGY, inventory())
    for hub in TOPOLOGY.hubs:
        board.told(hub.key, hub_tells(hub.key), {}, NOW)
        board.measured(hub.key, {other.key: 42.0 for other in TOPOLOGY.hubs if other != hub})
    for host in TOPOLOGY.hosts:
        board.told(host.name, host_tells("oregon/a", "oregon/b"), {}, NOW)
    board.view(NOW)
    return board
