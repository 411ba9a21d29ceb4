"""Every file of the lab stack's machines, with fixed endpoints and keys: what golden files and checkers read."""

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from components.model import render
from components.model.boot import brought_script, cloud_config
from components.model.stackfile import load, load_file
from components.model.topology import BroughtMachine
from tests.model.policy_stack import BASE

ROOT = Path(__file__).parents[1]
TOPOLOGY = load_file(ROOT / "stacks" / "Pulumi.lab.yaml", ("lab",))
ENDPOINTS = {hub.key: f"203.0.113.{hub.id}" for hub in TOPOLOGY.hubs}


def hub_bundle(hub):
    """A hub's files with those of its links, path -> FileSpec."""
    files = render.hub_files(hub, TOPOLOGY.overlay, ENDPOINTS[hub.key])
    files |= render.hub_pki_files("CA\n", "CERTIFICATE\n", "KEY\n", "TLS-CRYPT-V2\n", "LINK KEY\n")
    for link in TOPOLOGY.links:
        if hub in (link.listener, link.dialer):
            peer = link.dialer if hub == link.listener else link.listener
            files |= render.link_files(hub, peer, link, ENDPOINTS[peer.key])
    return files


def host_bundle(host):
    """A host's files, path -> FileSpec."""
    own_hubs = [(hub, ENDPOINTS[hub.key]) for hub in TOPOLOGY.hubs if hub.site == host.site]
    files = render.host_files(host, TOPOLOGY.overlay, own_hubs)
    return files | render.host_pki_files("CA\n", "CERTIFICATE\n", "KEY\n", "TLS-CRYPT-V2\n")


def walls():
    """The packet filters of a stack with services: machine -> its one file."""
    topology = load(BASE, ("lab",))
    hubs = {hub.key: render.hub_files(hub, topology.overlay, "203.0.113.1", topology.policy) for hub in topology.hubs}
    hosts = {host.name: render.host_files(host, topology.overlay, [], topology.policy) for host in topology.hosts}
    rules = "/etc/nftables.conf"
    return {f"services:{name}": {rules: files[rules]} for name, files in {**hubs, **hosts}.items()}


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
    values = {"packages": render.HOST_PACKAGES, "login_public_key": "ssh-ed25519 AAAALOGIN"}
    return {
        "prepare": brought_script("prepare.sh.j2", "vcubev", **values),
        "leave": brought_script("leave.sh.j2", "vcubev"),
    }


def user_data():
    """The user_data of a hub."""
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    return cloud_config(
        render.HUB_PACKAGES, "vcubev", "ssh-ed25519 AAAALOGIN\n", private, "ecdsa-sha2-nistp256 AAAAHOST\n"
    )


MACHINES = {hub.key: hub_bundle(hub) for hub in TOPOLOGY.hubs} | {
    host.name: host_bundle(host) for host in TOPOLOGY.hosts
}
MACHINES |= walls()
# The agents are programs with tests of their own, the same on every machine.
EVERY_FILE = [
    (machine, path) for machine, files in sorted(MACHINES.items()) for path in sorted(files) if not path.endswith(".py")
]
EVERY_FILE_IDS = [f"{machine}:{path}" for machine, path in EVERY_FILE]
