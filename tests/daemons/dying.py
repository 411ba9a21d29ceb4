"""A full mesh of twelve real BIRDs loses one; prints what it takes until all agree, for test_partial_mesh."""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path

from components.model.stackfile import load
from tests.daemons.routed import Hubs, inside_apart, until

HUBS, HOSTS = 12, 250


def main() -> None:
    sites = {
        f"s{hub}": {"id": hub, "cloud": "lab", "region": "here", "hubs": {"a": {"id": hub}}}
        for hub in range(1, HUBS + 1)
    }
    overlay = {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"}
    with tempfile.TemporaryDirectory() as directory:
        hubs = Hubs(load({"overlay": overlay, "roles": {}, "sites": sites}, ("lab",)), Path(directory))
        hubs.make()
        hubs.join()
        addresses = [f"10.100.1.{number + 1}/32" for number in range(HOSTS)]
        hubs.route(1, [(address, 12) for address in addresses])
        # Each has its spare tunnel at another hub.
        for hub in range(2, HUBS + 1):
            hubs.route(hub, [(address, 11) for address in addresses[hub - 2 :: HUBS - 1]])

        def agree(number: int) -> bool:
            ask = f"show route table master4 primary where bgp_local_pref = {100 + number} count"
            return all(re.search(r"(\d+) of", bird.ask(ask))[1] == str(HOSTS) for bird in hubs.birds.values())

        def heard() -> int:
            told = (bird.ask("show protocols all") for bird in hubs.birds.values())
            return sum(
                int(number) for text in told for number in re.findall(r"Import (?:updates|withdraws): +(\d+)", text)
            )

        until(lambda: agree(12), "all hosts at the first hub")
        time.sleep(1)
        before = heard()
        hubs.die(1)
        seconds = until(lambda: agree(11), "all hosts at other hubs", 90)
        time.sleep(1)
        print(json.dumps({"seconds": seconds, "messages": (heard() - before) / HOSTS / (HUBS - 1), "hubs": HUBS}))


if __name__ == "__main__":
    assert inside_apart(), "run it by routed.apart()"
    main()
