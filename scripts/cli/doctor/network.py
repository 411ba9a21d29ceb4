"""What is wrong between machines: narrow paths, tunnels, links, routes, networks that overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_interface, ip_network
from typing import Any

from components.model.files import CONSTANTS
from components.model.topology import LINK_PORTS
from scripts.cli.doctor.examined import Examined, Trouble, moment

# What a full packet of the overlay is on the underlay: 52 for UDP and AES-GCM on IPv4.
FULL_BYTES = int(str(CONSTANTS["MTU_BYTES"])) + 52
OWN_DEVICES = re.compile(r"lo|(path|direct)\d+|hosts-(udp\d*|tcp)|link\d+")
MAIN = "main"


def narrow_paths(seen: Examined) -> Iterator[Trouble]:
    """Name the machines by whose own access most narrow paths go."""
    narrow = {
        (machine, hub): path["mtu_bytes"]
        for machine, facts in seen.facts.items()
        for hub, path in facts["paths"].items()
        if path["answers"] and (path["mtu_bytes"] or 0) < FULL_BYTES
    }
    while narrow:
        worst = max(sorted({end for pair in narrow for end in pair}), key=lambda end: sum(end in p for p in narrow))
        ends = {pair: size for pair, size in narrow.items() if worst in pair}
        others = sorted({end for pair in ends for end in pair} - {worst})
        least = min(size or 0 for size in ends.values())
        told = f"packets of more than {least} bytes do not pass whole between it and {', '.join(others)}"
        why = (
            f"a full packet of a tunnel has {FULL_BYTES}: it is cut in two, or lost, and large transfers crawl or hang"
        )
        cures = (seen.on(worst, "ip link show; ip route show default; tracepath -n HUB-ADDRESS"),)
        cures += ("raise the MTU of the access (PPPoE, a tunnel of the provider's) or of the cloud's network",)
        yield Trouble("mtu", worst, told, why, cures)
        narrow = {pair: size for pair, size in narrow.items() if pair not in ends}


def tunnels(seen: Examined) -> Iterator[Trouble]:
    """Look at hosts' tunnels and at hubs' links."""
    for name in seen.inventory.hosts:
        if (facts := seen.facts.get(name)) is None:
            continue
        paths = (facts["agent"] or {}).get("paths", {}).values()
        used = [path for path in paths if path["hub"]]
        by_tcp = sorted({path["hub"] for path in used if path["transport"] == "tcp"})
        answering = sorted(hub for hub, path in facts["paths"].items() if path["answers"])
        if by_tcp:
            told = f"its tunnels to {', '.join(by_tcp)} go by TCP: UDP does not come through"
            why = "TCP within TCP stalls when packets are lost, and a fail-over takes seconds instead of a third of one"
            since = facts.get("by_tcp_since")
            yield Trouble("udp", name, told, why, _udp_cures(seen, name, by_tcp), moment(since) if since else "")
        elif not any(path["alive"] for path in used):
            told = "no tunnel of it is alive" if facts["agent"] else "its agent (vcubev-paths) says nothing"
            if answering and facts["agent"]:
                told += f", and yet {', '.join(answering)} answer its pings"
            cures = (seen.on(name, "journalctl -n 50 -u vcubev-paths -u vcubev-path@1 -u vcubev-path@2"),)
            yield Trouble("tunnel", name, told, "it is not in the overlay", (*cures, seen.repair(name)))
    yield from _links(seen)


def _links(seen: Examined) -> Iterator[Trouble]:
    """Name links that are down, each once."""
    told_of = set()
    for link in seen.topology.links:
        for own, peer in ((link.listener, link.dialer), (link.dialer, link.listener)):
            facts = seen.facts.get(own.key)
            if facts is None or peer.key not in seen.facts or link.name in told_of:
                continue
            state, more = facts["sessions"].get(str(peer.id), ("not there", ""))
            if more.startswith("Established") or not facts["sessions"]:
                continue
            told_of.add(link.name)
            told = f"its link to {peer.key} is down ({more or state})"
            why = "hosts' traffic between the two goes round by other hubs, or not at all where there is none"
            if facts["paths"].get(peer.key, {}).get("answers"):
                ports = f"UDP ports {LINK_PORTS.start} to {LINK_PORTS.stop - 1}"
                told += f", and yet {peer.key} answers its pings: {ports} are blocked between them"
                yield Trouble("udp", own.key, told, why, _udp_cures(seen, own.key, [peer.key]))
            else:
                told += f", and {peer.key} does not answer its pings"
                yield Trouble(
                    "link", own.key, told, why, (seen.on(own.key, f"ip route get {_address(seen, peer.key)}"),)
                )


def _address(seen: Examined, hub: str) -> str:
    return seen.inventory.hubs[hub].ssh.address


def _udp_cures(seen: Examined, machine: str, hubs: list[str]) -> tuple[str, ...]:
    look = seen.on(machine, f"sudo timeout 10 tcpdump -n -c 20 udp and host {_address(seen, hubs[0])}")
    return look, f"vcubev drift {seen.stack} {' '.join([machine, *hubs])}", "let UDP through at the site's own firewall"


def routes(seen: Examined) -> Iterator[Trouble]:
    """Look for ways into the overlay that are none of its tunnels, and for those that are lacking."""
    overlay = {4: seen.topology.overlay.ipv4, 6: seen.topology.overlay.ipv6}
    hubs = [hub for hub in seen.inventory.hubs if not _alone(seen, hub)]
    carried = {route["dst"] for name in hubs for route in _of(seen, name) if _carries(route)}
    for name, facts in sorted(seen.facts.items()):
        lan = {dev for dev, _ in _overlapping(seen, facts)}
        for route in facts["routes"]:
            into = _network(route["dst"])
            strange = not OWN_DEVICES.fullmatch(route["dev"]) and route["dev"] not in lan
            if into is not None and strange and into.subnet_of(overlay[into.version]):  # type: ignore[arg-type]
                way = f"{route['dst']} by {route['gateway'] or 'no gateway'} at {route['dev'] or 'no device'}"
                told = f"it has a route {way}, which is none of the overlay's"
                why = "traffic for these addresses leaves the tunnels; the packet filter drops it there"
                table = "" if route["table"] in ("", MAIN) else f" table {route['table']}"
                family = "-6 " if into.version == 6 else ""
                cure = seen.on(name, f"sudo ip {family}route del {route['dst']} dev {route['dev']}{table}")
                told_by = f"it was set by {route['protocol']}" if route["protocol"] else ""
                yield Trouble("route", name, told, why, (cure,), told_by)
        known = {(route["dst"], route["dev"]) for route in facts["routes"]}
        if name in seen.inventory.hosts:
            lacking = [str(net) for net in overlay.values() if not any((str(net), f"path{n}") in known for n in (1, 2))]
            if lacking:
                told = f"it has no route to {' and '.join(lacking)} by a tunnel"
                cure = seen.on(name, "sudo systemctl restart vcubev-net vcubev-paths")
                yield Trouble("route", name, told, "it reaches nobody in the overlay", (cure,))
        elif name in hubs:
            destinations = {dst for dst, _ in known}
            lost = sorted(h.name for h in seen.inventory.hosts.values() if h.ipv4 in carried - destinations)
            if lost:
                told = f"it has no route to {', '.join(lost)}, whom another hub carries"
                cure = seen.on(name, "sudo birdc show protocols; sudo birdc show route all | head -50")
                why = "who comes in by this hub does not reach them"
                yield Trouble("route", name, told, why, (cure, seen.on(name, "sudo systemctl restart bird")))
        if not any(route["dst"] == "default" for route in facts["routes"]):
            why = "it reaches nothing outside its own network"
            yield Trouble("route", name, "it has no default route", why, (seen.on(name, "ip route show table all"),))


def _alone(seen: Examined, hub: str) -> bool:
    """Tell whether all links of a hub are down, of which there is more to be said than of its routes."""
    sessions = seen.facts[hub]["sessions"].values() if hub in seen.facts else ()
    return bool(sessions) and not any(more.startswith("Established") for _, more in sessions)


def _of(seen: Examined, machine: str) -> list[Mapping[str, str]]:
    return seen.facts[machine]["routes"] if machine in seen.facts else []


def _carries(route: Mapping[str, str]) -> bool:
    return route["table"] in ("", MAIN) and route["dev"].startswith("hosts-")


def _network(text: str) -> Any:
    try:
        return ip_network(text, strict=False)
    except ValueError:  # "default"
        return None


def overlaps(seen: Examined) -> Iterator[Trouble]:
    for name, facts in sorted(seen.facts.items()):
        for device, network in _overlapping(seen, facts):
            overlay = seen.topology.overlay.ipv4 if network.version == 4 else seen.topology.overlay.ipv6
            told = f"its local network {network} at {device} overlaps the overlay {overlay}"
            why = "one address means two machines: what is for the overlay goes to the local network, or the reverse"
            cures = (f"give the local network at {device} another prefix",)
            cures += (f"or the overlay: vcubev down {seen.stack}, another vcubev:overlay in its file, vcubev up",)
            yield Trouble("overlap", name, told, why, cures)


def _overlapping(seen: Examined, facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    overlay = {4: seen.topology.overlay.ipv4, 6: seen.topology.overlay.ipv6}
    found = []
    for one in facts["addresses"]:
        network = ip_interface(one["address"]).network
        if not OWN_DEVICES.fullmatch(one["dev"]) and network.overlaps(overlay[network.version]):
            found.append((one["dev"], network))
    return found
