"""Tells when more is sent into a tunnel than it takes: its device drops probes too, which say nothing of the way."""

import pathlib
import time

NETWORK = pathlib.Path("/sys/class/net")
LOOK_SECONDS = 0.1


class Floods:
    """What the devices of tunnels have dropped, looked at again and again."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}  # path -> (packets that the tunnel took, packets dropped)
        self._next = 0.0

    def look(self, paths: dict) -> None:
        """Tell each path (`tunnels.Path`, by its number) whose device has dropped packets since the last look.

        One that takes none drops all: no OpenVPN is there, which is no flood.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        for number, path in paths.items():
            before, counts = self._counts.get(number), _counts(number)
            self._counts[number] = counts
            if before and counts[0] > before[0] and counts[1] > before[1]:
                path.flooded = now


def _counts(number: int) -> tuple[int, int]:
    directory = NETWORK / f"path{number}" / "statistics"
    try:
        return int((directory / "tx_packets").read_text()), int((directory / "tx_dropped").read_text())
    except (OSError, ValueError):  # it is made anew
        return 0, 0
