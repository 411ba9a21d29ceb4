"""Claims the traffic of many hosts at one hub at once, as their agents do when another goes; run in their namespace.

Prints, as JSON, after how many seconds each had its answer. By stdin: JSON of the hub's address, its port, the number
that the hosts had elsewhere, and device -> address of each.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

RETRY_SECONDS = 0.1  # CLAIM_RETRY_SECONDS of agents/paths.py
LONGEST_SECONDS = 120


def main() -> None:
    told = json.load(sys.stdin)
    question = {"claim": True, "nonce": "1.1", "hash": "", "above": told["above"]}
    text, hub = json.dumps(question).encode(), (told["hub"], told["port"])
    asked: dict[socket.socket, float] = {}
    after: list[float] = []
    with selectors.DefaultSelector() as selector:
        for device, address in told["hosts"].items():
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            own.bind((address, 0))
            selector.register(own, selectors.EVENT_READ)
            asked[own] = 0.0
        began = time.monotonic()
        while asked:
            now = time.monotonic()
            if now > began + LONGEST_SECONDS:
                raise SystemExit(f"{len(asked)} hosts had no answer")
            for own, last in asked.items():
                if now - last >= RETRY_SECONDS:
                    own.sendto(text, hub)
                    asked[own] = now
            for key, _ in selector.select(0.005):
                answer = json.loads(key.fileobj.recv(65536))
                if key.fileobj in asked and answer["number"] is not None:
                    after.append(time.monotonic() - began)
                    del asked[key.fileobj]
    print(json.dumps(after))


if __name__ == "__main__":
    main()
