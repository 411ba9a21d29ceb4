"""A partial mesh of real BIRDs through its troubles; prints what was seen, for test_partial_mesh.

Hubs 1 and 2 are the core, in two sites. 3 is a leaf of the third; 4 and 5 are leaves of the fourth.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from components.model.stackfile import load
from tests.daemons.routed import Hubs, host, inside_apart, until

HERE, THERE, MOVED = "10.100.1.3", "10.100.1.4", "10.100.1.9"
PINGS, PING_SECONDS, FAULT_SECONDS = 150, 0.01, 0.4
BURST = 500
SITES = {"one": (1,), "two": (2,), "three": (3,), "four": (4, 5)}


def values() -> dict:
    sites = {
        name: {"id": number, "cloud": "lab", "region": name, "hubs": {f"h{hub}": {"id": hub} for hub in hubs}}
        for number, (name, hubs) in enumerate(SITES.items(), start=1)
    }
    overlay = {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"}
    return {"overlay": overlay, "roles": {"web": {"id": 1}}, "sites": sites, "mesh": {"full_up_to": 2}}


def pings() -> subprocess.Popen[str]:
    """Begin to ping from one leaf's host to another's."""
    command = ["ip", "netns", "exec", "here", "ping", "-n", "-i", str(PING_SECONDS), "-c", str(PINGS), "-W", "1", THERE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def lost(ping: subprocess.Popen[str]) -> int:
    """Return how many pings had no answer."""
    done = re.search(r"(\d+) packets transmitted, (\d+) received", ping.communicate()[0])
    return int(done[1]) - int(done[2])


def chosen(hubs: Hubs, address: str) -> dict[int, tuple[int, list[int]]]:
    return {hub_id: hubs.best(hub_id, f"{address}/32") for hub_id in hubs.birds}


def agree(hubs: Hubs, address: str, number: int) -> dict[int, tuple[int, list[int]]]:
    until(lambda: all(found[0] == number for found in chosen(hubs, address).values()), f"{address} has number {number}")
    return chosen(hubs, address)


def burst(hubs: Hubs) -> float:
    """Return how long it takes until all hubs know five hundred hosts that come to one at once."""
    hubs.route(5, [(f"10.100.{2 + number // 250}.{number % 250 + 1}/32", 2) for number in range(BURST)])
    count = lambda hub: hub.ask("show route table master4 primary where net ~ [10.100.2.0/23{32,32}] count")  # noqa: E731
    known = lambda: all(re.search(r"(\d+) of", count(hub))[1] == str(BURST) for hub in hubs.birds.values())  # noqa: E731
    return until(known, "a burst")


def ways_through_leaves(hubs: Hubs) -> list[str]:
    """Return what the core holds of routes that a leaf has from the core."""
    found = []
    for hub_id in (1, 2):
        if hub_id in hubs.birds:
            paths = re.findall(r"as_path: ([\d ]+)", hubs.birds[hub_id].ask("show route table master4 all"))
            # A leaf's own routes have one AS, its sibling's two.
            found += [path for path in paths if path.split()[0][-1] in "345" and path.split()[-1][-1] in "12"]
    return found


def main() -> None:
    seen: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as directory:
        hubs = Hubs(load(values(), ("lab",)), Path(directory))
        hubs.make()
        hubs.join()
        with host(hubs, 3, "here", HERE), host(hubs, 4, "there", THERE):
            hubs.route(3, [(f"{HERE}/32", 2)])
            hubs.route(4, [(f"{THERE}/32", 2)])
            hubs.route(1, [("10.100.1.1/32", 2)])
            for address in (HERE, THERE, "10.100.1.1"):
                seen[address] = agree(hubs, address, 2)
            # It moves from the third site to the fourth, as a claim does: past all others.
            hubs.route(3, [(f"{MOVED}/32", 6)])
            agree(hubs, MOVED, 6)
            hubs.route(5, [(f"{MOVED}/32", 8)])
            seen["moved"] = agree(hubs, MOVED, 8)
            seen["through leaves"] = ways_through_leaves(hubs)
            seen["lost, all well"] = lost(pings())
            seen["burst s"] = burst(hubs)
            running = pings()
            time.sleep(FAULT_SECONDS)
            by = hubs.best(3, f"{THERE}/32")[1][0]
            hubs.die(by)
            seen["lost, a hub of the core died"] = lost(running)
            seen["after a death"] = agree(hubs, THERE, 2)
            other = 3 - by
            running = pings()
            time.sleep(FAULT_SECONDS)
            hubs.cut(4, other)
            seen["lost, a leaf's last link to the core cut"] = lost(running)
            seen["after a cut"] = agree(hubs, THERE, 2)
    print(json.dumps(seen))


if __name__ == "__main__":
    assert inside_apart(), "run it by routed.apart()"
    main()
