"""Traffic of a rightful host while it is attacked, with words in it that would be known again in the clear."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.lab.faults.world import World

VICTIM, PEER = "web-1", "db-2"
PLAIN = b"plain words here"  # ping takes sixteen bytes to repeat
PING_SECONDS = 0.02
OFTEN_SECONDS = 0.1


def pinging(world: World, count: int, to: str | None = None) -> subprocess.Popen[str]:
    """Start pings from the victim to its peer, fifty a second."""
    command = ("ping", "-n", "-q", "-i", str(PING_SECONDS), "-c", str(count), "-W", "1", "-p", PLAIN.hex())
    return world.start(VICTIM, *command, to or world.hosts[PEER]["ipv4"])


def lost(ping: subprocess.Popen[str]) -> int:
    """Wait for the end of pings; return how many had no answer."""
    told = ping.communicate(timeout=60)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", told).groups())
    return sent - received


@contextmanager
def again_and_again(what: Callable[[], object]) -> Iterator[None]:
    """Do something ten times a second all the while."""
    end = threading.Event()

    def work() -> None:
        while not end.wait(OFTEN_SECONDS):
            what()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
