"""Every file of the lab stack's machines, with fixed endpoints and keys: what golden files and checkers read."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

from components.model import render
from components.model.boot import cloud_config, first_contact_script, leave_script, login_files, prepare_script
from components.model.crl import crl_files
from components.model.direct import direct_files, direct_wall
from components.model.metrics import metrics_files
from components.model.nearest import nearest_files, nearest_service_files, nearest_services
from components.model.revocation import Ledger, Revoked
from components.model.stackfile import load, load_file
from components.model.topology import BroughtMachine
from tests.model.policy_stack import BASE

ROOT = Path(__file__).parents[1]
TOPOLOGY = load_file(ROOT / "stacks" / "Pulumi.lab.yaml", ("lab",))
LOGINS = ("ssh-ed25519 AAAALOGIN\n", "ssh-ed25519 AAAAOLDER\n")
ENDPOINTS = {hub.key: f"203.0.113.{hub.id}" for hub in TOPOLOGY.hubs}
INNER = {hub.key: f"172.30.{hub.id}.5" for hub in TOPOLOGY.hubs}


def hub_bundle(hub):
    """A hub's files with those of its links, path -> FileSpec."""
    files = render.hub_files(hub, TOPOLOGY.overlay, ENDPOINTS[hub.key], inner=INNER[hub.key])
    files |= render.hub_pki_files("CA\n", "CERTIFICATE\n", "KEY\n", "TLS-CRYPT-V2\n", "LINK KEY\n")
    files |= login_files("vcubev", LOGINS) | refusals()
    for link in TOPOLOGY.links:
        if hub in (link.listener, link.dialer):
            peer = link.dialer if hub == link.listener else link.listener
            files |= render.link_files(hub, peer, link, ENDPOINTS[peer.key], INNER[hub.key], INNER[peer.key])
    return files


def refusals():
    """What tells a hub whom to refuse: a host that has gone, one on the list, and a certificate that a hub had."""
    began, end = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC), datetime(2027, 5, 4, 3, 2, 1, tzinfo=UTC)
    revoked = {Revoked(1 << 120, "host.web-9", end, began), Revoked(17, "hub.oregon.a", end, began)}
    ends = {"authority": end.replace(year=2036), "certificate": end, "revocation_list": end.replace(year=2036)}
    hubs = [hub.common_name for hub in TOPOLOGY.hubs]
    return crl_files(["LIST\n"], Ledger(revoked=frozenset(revoked), number=3), ["host.web-2"], hubs, ends)


def host_bundle(host):
    """A host's files, path -> FileSpec."""
    own_hubs = [(hub, ENDPOINTS[hub.key], INNER[hub.key]) for hub in TOPOLOGY.hubs if hub.site == host.site]
    files = render.host_files(host, TOPOLOGY.overlay, own_hubs)
    files |= render.host_pki_files("CA\n", "CERTIFICATE\n", "KEY\n", "TLS-CRYPT-V2\n")
    return files | login_files("vcubev", LOGINS)


def walls():
    """The packet filters of a stack with services: machine -> their files."""
    return {f"services:{name}": files for name, files in packet_filters(load(BASE, ("lab",))).items()}


def packet_filters(topology):
    """The packet filter of each machine of a stack: the main file, and one for each service."""
    policy, rules = topology.policy, "/etc/nftables.conf"
    found = {}
    for hub in topology.hubs:
        found[hub.key] = {rules: render.hub_files(hub, topology.overlay, "203.0.113.1", policy)[rules]}
        for service in policy.pieces():
            found[hub.key] |= render.service_files("hub", service)
    for host in topology.hosts:
        found[host.name] = {rules: render.host_files(host, topology.overlay, [], policy)[rules]}
        for service in policy.pieces(host.address.ipv4):
            found[host.name] |= render.service_files("host", service)
    return found


def metrics():
    """What members serve to who asks for their metrics: machine -> their files, with the main packet filter."""
    topology = load({**BASE, "metrics": {"from": ["db", "host:web-2"]}}, ("lab",))
    found = {}
    for kind, member in (("hub", topology.hubs[0]), ("host", topology.hosts[0])):
        files = metrics_files(kind, member, topology.overlay, topology.policy.metrics)
        name = member.key if kind == "hub" else member.name
        found[f"metrics:{name}"] = packet_filters(topology)[name] | files
    return found


def nearest():
    """What a host has that reaches services at their nearest servers: machine -> its files."""
    services = {
        "ldap": {**BASE["services"]["ldap"], "anycast": True, "check": {"http": 636, "path": "/well", "expect": 204}},
        "time": {"on": "ldap", "ports": ["123/udp"], "from": ["10.100.1.0/24"], "anycast": True},
    }
    topology = load({**BASE, "services": services}, ("lab",))
    host = topology.hosts[1]
    files = nearest_files(topology.overlay)
    for service in nearest_services(topology.policy, host):
        files = files | nearest_service_files(service, host, topology.overlay, topology.policy.ping)
    return {f"nearest:{host.name}": files}


def direct():
    """What members have for tunnels between hosts: machine -> their files, with a host's main packet filter."""
    topology = load({**BASE, "direct": True}, ("lab",))
    host, overlay, policy = topology.hosts[0], topology.overlay, topology.policy
    files = direct_files(host, overlay, IPv4Network("172.30.1.0/24"), "172.30.1.7", "203.0.113.7", "CERTIFICATE\n")
    main = render.host_files(host, overlay, [], policy, direct=True)
    shared = {path: main[path] for path in ("/etc/nftables.conf", "/etc/sysusers.d/vcubev.conf")}
    return {f"direct:{host.name}": files | shared, "services:direct": direct_wall(overlay)}


def gateway_filter():
    """The packet filter of a hub by which its site's private machines go out, and whose SSH has another port."""
    own = BroughtMachine("192.0.2.1", "admin", "ssh-ed25519 AAAA", 2222)
    hub = replace(TOPOLOGY.hubs[0], machine=own)
    files = render.hub_files(hub, TOPOLOGY.overlay, "192.0.2.1", gateway_for=IPv4Network("172.30.1.0/24"))
    return files["/etc/nftables.conf"].content


def leaf_links():
    """Both ends of the links of a hub that leans on two others: "own-peer" -> its files, path -> FileSpec."""
    places = {"one": (1,), "two": (2,), "three": (3, 4)}
    values = {**BASE, "services": None, "tests": None, "mesh": {"full_up_to": 2}}
    values["sites"] = {
        name: {"id": number, "cloud": "lab", "region": name, "hubs": {f"h{hub}": {"id": hub} for hub in hubs}}
        for number, (name, hubs) in enumerate(places.items(), start=1)
    }
    topology = load(values, ("lab",))
    ends = [(link, own, peer) for link in topology.links for own, peer in (link.ends, link.ends[::-1])]
    return {
        f"{own.name}-{peer.name}": render.link_files(own, peer, link, "203.0.113.1")
        for link, own, peer in ends
        if 4 in (own.id, peer.id)
    }


def brought_scripts():
    """What is run on a machine of the user's own, name -> text."""
    prepare = prepare_script("vcubev", render.HOST_PACKAGES, "ssh-ed25519 AAAALOGIN\n")
    return {"prepare": prepare, "leave": leave_script("vcubev")}


def first_contact():
    """What the first contact runs on a machine whose login key another has taken the place of."""
    return first_contact_script("vcubev", "ssh-ed25519 AAAAFIRST", LOGINS)


def user_data():
    """The user_data of a hub."""
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    return cloud_config(
        render.HUB_PACKAGES, "vcubev", "ssh-ed25519 AAAALOGIN\n", private, "ecdsa-sha2-nistp256 AAAAHOST\n"
    )


MACHINES = {hub.key: hub_bundle(hub) for hub in TOPOLOGY.hubs} | {
    host.name: host_bundle(host) for host in TOPOLOGY.hosts
}
MACHINES |= walls() | metrics() | nearest() | direct()
# The agents are programs with tests of their own, the same on every machine.
EVERY_FILE = [
    (machine, path) for machine, files in sorted(MACHINES.items()) for path in sorted(files) if not path.endswith(".py")
]
EVERY_FILE_IDS = [f"{machine}:{path}" for machine, path in EVERY_FILE]
