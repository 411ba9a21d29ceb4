"""Whether all hubs agree on where every host is. Pure: works on what `ip -j route show table all` printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

HOSTS_TABLE = "100"
LINK = re.compile(r"link(\d+)")


@dataclass(frozen=True)
class Tables:
    """One hub's routes to single addresses."""

    main: dict[str, str] = field(default_factory=dict)  # address -> device
    hosts: dict[str, int] = field(default_factory=dict)  # address -> mobility number, of hosts that are connected here

    @classmethod
    def of(cls, routes: Iterable[Mapping]) -> Tables:
        """Read routes of all tables as `ip` gives them in JSON."""
        main: dict[str, str] = {}
        hosts: dict[str, int] = {}
        for route in routes:
            if "/" in route["dst"] or route["dst"] == "default" or route.get("type", "unicast") != "unicast":
                continue
            if route.get("table", "main") == "main":
                main[route["dst"]] = route.get("dev", "")
            elif route["table"] == HOSTS_TABLE:
                hosts[route["dst"]] = max(route.get("metric", 0), hosts.get(route["dst"], 0))
        return cls(main, hosts)


def walk(hubs: Mapping[str, Tables], names: Mapping[int, str], start: str, address: str) -> tuple[list[str], str]:
    """Follow an address from hub to hub.

    Args:
        hubs: The live hubs' tables.
        names: Hub of each id; a link's device is named after its peer's id.

    Returns:
        The hubs passed, and what is wrong at the last of them, "" if the host is connected there.
    """
    way = [start]
    while True:
        device = hubs[way[-1]].main.get(address)
        if device is None:
            return way, "has no route"
        link = LINK.fullmatch(device)
        if link is None:
            return way, "" if address in hubs[way[-1]].hosts else f"routes to {device}, where it is not connected"
        follower = names.get(int(link[1]), device)
        if follower not in hubs:
            return way, f"routes to the dead hub {follower}"
        if follower in way:
            return [*way, follower], "goes round in a loop"
        way.append(follower)


def disagreements(
    hubs: Mapping[str, Tables],
    names: Mapping[int, str],
    live: Mapping[str, Iterable[str]],
    dead: Mapping[str, Iterable[str]],
) -> list[str]:
    """Return all that is wrong, in words.

    Args:
        hubs: The live hubs' tables.
        names: Hub of each id, dead ones too.
        live: Addresses of each host that must be reached.
        dead: Addresses of each host and hub that no route may lead to.
    """
    wrong: list[str] = []
    for host, addresses in live.items():
        for address in addresses:
            ends: set[str] = set()
            for hub in hubs:
                way, problem = walk(hubs, names, hub, address)
                ends.add(way[-1])
                if problem:
                    wrong.append(f"{host} {address} by {' > '.join(way)}: {way[-1]} {problem}")
            if len(ends) > 1:
                wrong.append(f"{host} {address} is at {', '.join(sorted(ends))} at once")
            numbers = {hub: tables.hosts[address] for hub, tables in hubs.items() if address in tables.hosts}
            highest = max(numbers.values(), default=0)
            if len(ends) == 1 and numbers.get(*ends, highest) < highest:
                wrong.append(f"{host} {address} is sought at {ends.pop()}, but its numbers are {numbers}")
    for name, addresses in dead.items():
        for address in addresses:
            wrong += [f"{hub} has a route to {address} of {name}" for hub, t in hubs.items() if address in t.main]
    for hub, tables in hubs.items():
        for address, device in tables.main.items():
            link = LINK.fullmatch(device)
            if link and names.get(int(link[1]), device) not in hubs:
                wrong.append(f"{hub} routes {address} to the dead hub {names.get(int(link[1]), device)}")
    return sorted(set(wrong))
