"""Has a host's tunnels taken anew, and knows from when on it is the new one that answers."""

import os
import pathlib
import time

STARTED = "/run/vcubev-path-{path}/{mark}"  # is there as soon as the tunnel is the one that was asked for
TURN = "/run/vcubev-turn-{path}"  # a line there has systemd take a tunnel anew
LONGEST_SECONDS = 10  # of a turn: vcubev-turn@.service's TimeoutStartSec


class Turns:
    """One turn of each tunnel at a time.

    Options that were written while a tunnel is about to start would be read by that one, which then ends by the turn
    that was asked for with them: for half a second it would be taken for the new one, and have the traffic.

    Args:
        directory: Where options stand, a file for each tunnel.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._under_way: dict[int, tuple[float, pathlib.Path]] = {}  # since when, and what is there when it has begun
        self._next: dict[int, list[str]] = {}  # options that wait for the end of a turn; later ones replace them

    def take(self, now: float, number: int, options: list[str]) -> None:
        """Take a tunnel anew with these options, now or after the turn that is under way."""
        self._next[number] = options
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """Begin the turns that have waited, if their time has come."""
        for number in [*self._next]:
            if not self._waits(number) or now - self._under_way[number][0] >= LONGEST_SECONDS:
                self._begin(now, number, self._next.pop(number))

    def is_old(self, number: int) -> bool:
        """Tell whether it is still the tunnel before that answers, which is to end any moment: it may take a second."""
        return number in self._next or self._waits(number)

    def _waits(self, number: int) -> bool:
        if number in self._under_way and self._under_way[number][1].exists():
            del self._under_way[number]
        return number in self._under_way

    def _begin(self, now: float, number: int, options: list[str]) -> None:
        started = pathlib.Path(STARTED.format(path=number, mark=time.monotonic_ns()))
        draft = self._directory / f"{number}.conf.new"
        draft.write_text("\n".join([*options, f"writepid {started}"]) + "\n")
        draft.replace(self._directory / f"{number}.conf")
        self._under_way[number] = (now, started)
        turn(number)


def turn(number: int) -> None:
    """Have a tunnel taken anew; whoever does it takes no other word from this agent (vcubev-turn@.service)."""
    try:
        with open(os.open(TURN.format(path=number), os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as fifo:
            fifo.write(b"\n")
    except OSError as problem:  # the tunnel brings no answer, and this is tried again for the next hub
        print(f"path {number} cannot be taken anew: {problem}", flush=True)
