"""Who gets in at a member's doors: real packets against the packet filters that the program renders.

Run inside `routed.apart()`. Prints, for each kind of member, who reached which port: JSON.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from components.model import render
from components.model.files import FileSpec
from components.model.metrics import metrics_files
from components.model.policy import METRICS_PORT
from components.model.stackfile import load
from components.model.topology import HostView, HubView, Topology
from tests.daemons.routed import run
from tests.model.policy_stack import BASE

OTHER_PORT = METRICS_PORT + 1
# Roles db and web, and a hub.
CLIENTS = {"db": ("10.100.3.1", "fd5c:ab1e:0:3::1"), "web": ("10.100.1.2", "fd5c:ab1e:0:1::2")}
CLIENTS["hub"] = ("10.100.0.2", "fd5c:ab1e::2")
SERVE = """
import socket, time
kept = [socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) for port in (%d, %d)]
print("ready", flush=True)
time.sleep(60)
"""
CONNECT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def connects(ends):
    source, target, port = ends
    try:
        socket.create_connection((target, port), 1, (source, 0)).close()
    except OSError:
        return False
    return True
asked = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(asked)) as pool:
    print(json.dumps(list(pool.map(connects, asked))))
"""


def files_of(topology: Topology, member: HostView | HubView) -> dict[str, FileSpec]:
    policy, metrics = topology.policy, topology.policy.metrics
    if isinstance(member, HostView):
        files = render.host_files(member, topology.overlay, [], policy)
        pieces, kind = policy.pieces(member.address.ipv4), "host"
    else:
        files = render.hub_files(member, topology.overlay, "203.0.113.1", policy)
        pieces, kind = policy.pieces(), "hub"
    assert metrics is not None
    for piece in pieces:
        files = {**files, **render.service_files(kind, piece)}
    return {**files, **metrics_files(kind, member, topology.overlay, metrics)}


def load_filter(namespace: str, files: Mapping[str, FileSpec], directory: Path) -> None:
    for path, spec in files.items():
        if path == "/etc/nftables.conf" or path.endswith(".nft"):
            file = Path(f"{directory}{path}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(spec.content.replace("/etc/vcubev", f"{directory}/etc/vcubev"))
    run("ip", "netns", "exec", namespace, "nft", "-f", f"{directory}/etc/nftables.conf")


def wired(member: HostView | HubView, device: str) -> None:
    """Make the member and whoever asks it, at two ends of a wire that is called as the member's tunnel."""
    ends = {"member": device, "client": "wire"}
    for name in ends:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", "member", "link", "add", device, "type", "veth", "peer", "name", "wire", "netns", "client")
    own = (str(member.address.ipv4), str(member.address.ipv6))
    places = {"member": own, "client": tuple(address for pair in CLIENTS.values() for address in pair)}
    ether = {}
    for name, link in ends.items():
        run("ip", "-n", name, "link", "set", link, "up")
        shown = json.loads(run("ip", "-n", name, "-j", "link", "show", "dev", link))
        ether[name] = shown[0]["address"]
        for address in places[name]:
            six = ":" in address
            run("ip", "-n", name, "address", "add", f"{address}/{128 if six else 32}", "dev", "lo", *(["nodad"] * six))
    for name, other in (("member", "client"), ("client", "member")):
        link = ends[name]
        for address in places[other]:
            run("ip", "-n", name, "route", "add", address, "dev", link)
            # Tunnels know no neighbours, and the filter lets no word of theirs through.
            run("ip", "-n", name, "neighbour", "add", address, "lladdr", ether[other], "dev", link)


def tried(member: HostView | HubView) -> Iterator[tuple[str, bool]]:
    """Yield "db ipv4 9190" -> whether it came in."""
    asked = {}
    for name, pair in CLIENTS.items():
        for family, source in zip(("ipv4", "ipv6"), pair, strict=True):
            for port in (METRICS_PORT, OTHER_PORT):
                asked[f"{name} {family} {port}"] = (source, str(getattr(member.address, family)), port)
    inside = ["ip", "netns", "exec", "client", sys.executable, "-c", CONNECT, json.dumps(list(asked.values()))]
    yield from zip(asked, json.loads(run(*inside)), strict=True)


def main(directory: Path) -> None:
    found = {}
    for policy, services in (("closed", BASE["services"]), ("open", None)):
        values = {**copy.deepcopy(BASE), "services": services, "metrics": {"from": ["db"]}}
        topology = load(values, ("lab",))
        host = next(host for host in topology.hosts if host.name == "web-1")
        for member, device in ((host, "path1"), (topology.hubs[0], "hosts-udp"), (topology.hubs[0], "link2")):
            wired(member, device)
            load_filter("member", files_of(topology, member), directory / f"{policy}-{device}")
            serve = SERVE % (METRICS_PORT, OTHER_PORT)
            server = subprocess.Popen(
                ["ip", "netns", "exec", "member", sys.executable, "-c", serve], stdout=subprocess.PIPE
            )
            assert server.stdout is not None
            server.stdout.readline()
            found[f"{policy} {device}"] = dict(tried(member))
            server.kill()
            server.wait()
            for name in ("member", "client"):
                run("ip", "netns", "delete", name)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
