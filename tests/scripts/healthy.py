"""What the machines of stack lab3 tell when nothing is wrong, for `vcubev doctor` to judge."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from components.clouds import known_clouds
from components.model.stackfile import load_file
from scripts.cli.doctor.asking import judged
from scripts.cli.doctor.examined import Examined
from scripts.cli.doctor.network import FULL_BYTES
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.stack import ROOT

TOPOLOGY = load_file(ROOT / "stacks" / "Pulumi.lab3.yaml", known_clouds())
NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
KEY = ec.generate_private_key(ec.SECP256R1())
DAY = timedelta(days=1)


def certificate(begin, end):
    made = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 7, begin, end).sign(KEY, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def crl(end):
    made = x509.CertificateRevocationListBuilder(NAME, NOW - 900 * DAY, end).sign(KEY, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def member(view, name, site, at, role=""):
    access = Access(f"198.18.0.{at}", f"ssh-ed25519 {name}", "")
    return Member(name, site, str(view.address.ipv4), str(view.address.ipv6), access, role)


HUBS = {hub.key: member(hub, hub.key, hub.site, at) for at, hub in enumerate(TOPOLOGY.hubs, 1)}
HOSTS = {h.name: member(h, h.name, h.site, at, h.role) for at, h in enumerate(TOPOLOGY.hosts, 50)}
INVENTORY = Inventory(HUBS, HOSTS, "vcubev", "")
LIVES = (NOW - 100 * DAY, NOW + 200 * DAY)
PEM = {"certificate": certificate(*LIVES), "authority": certificate(NOW - 100 * DAY, NOW + 3000 * DAY)}
DISK = {
    "place": "/", "free_bytes": 5 << 30, "size_bytes": 20 << 30, "free_inodes": 900, "inodes": 1000, "read_only": False
}  # fmt: skip


def route(dst, dev, **more):
    return {"dst": dst, "dev": dev, "gateway": "", "protocol": "", "table": "", **more}


def well(name):
    """Return what a machine tells with which nothing is wrong."""
    hub = name in HUBS
    overlay = (str(TOPOLOGY.overlay.ipv4), str(TOPOLOGY.overlay.ipv6))
    routes = [route("default", "eth0", gateway="172.30.1.1"), route("172.30.1.0/24", "eth0", protocol="kernel")]
    if hub:
        own = [host for host in HOSTS.values() if host.site == HUBS[name].site]
        routes += [route(h.ipv4, "hosts-udp" if h in own else "link1", protocol="bird") for h in HOSTS.values()]
        routes += [route(h.ipv4, "hosts-udp", table="100") for h in own]
    else:
        routes += [route(net, f"path{n}") for net in overlay for n in (1, 2)]
    path = {"hub": "oregon/a", "transport": "udp", "alive": True}
    peers = {str(hub.id): ["up", "Established"] for hub in TOPOLOGY.hubs if hub.key != name}
    return {
        "disks": [dict(DISK)],
        "pem": {**PEM, **({"revocation list": crl(NOW + 3000 * DAY)} if hub else {})},
        "routes": routes,
        "addresses": [{"dev": "eth0", "address": "172.30.1.7/24"}, {"dev": "lo", "address": "10.101.0.1/32"}],
        "agent": {"fit": 1} if hub else {"paths": {"1": path, "2": {**path, "hub": "paris/a"}}},
        "sessions": peers if hub else {},
        "paths": {other: {"answers": True, "mtu_bytes": FULL_BYTES} for other in HUBS if other != name},
        "resolvers": {"172.30.1.2": ""},
        "versions": {"openvpn": "2.6.14-0", "bird2": "2.0.12-7"},
        "code": {"hub.py": "aa"} if hub else {"paths.py": "bb"},
        "bundles": {"hub" if hub else "host": None},
        "by_tcp_since": None,
        "doors": {"vcubev-hosts@tcp": "running", "vcubev-hosts@udp": "running"} if hub else {},
    }


def seen(change=lambda facts: None, **more):
    facts = copy.deepcopy({name: well(name) for name in (*HUBS, *HOSTS)})
    change(facts)
    ahead = dict.fromkeys(facts, 0.2)
    return replace(Examined("lab3", TOPOLOGY, INVENTORY, facts, ahead, NOW), **more)


def found(change=lambda facts: None, **more):
    return [(one.kind, one.where) for one in judged(seen(change, **more))]
