"""One round of bench/storm, in namespaces of its own; prints its figures as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from bench.crowd import DOOR, Crowd, spread
from bench.loads import quantile
from tests.daemons.entering import until
from tests.daemons.routed import inside_apart

PLACE = Path("/mnt")
QUIET_SECONDS = 2
SETTLE_SECONDS = 1.5  # until all probes are under way
ROUTED_SECONDS = FORGOTTEN_SECONDS = 60
NICE = -10
ELSEWHERE_NUMBER = 10  # mobility number that the crowd had at another hub: what it has here is a spare's


class Round:
    """What one crowd does, part after part."""

    def __init__(self, crowd: Crowd, seconds: int, probing: int) -> None:
        self.crowd, self._seconds, self._probing = crowd, seconds, probing
        self.figures: dict[str, dict[str, float]] = {}
        self._megabytes = crowd.megabytes()
        self._quiet = self._spent(QUIET_SECONDS)

    def _spent(self, seconds: float) -> dict[str, float]:
        """Return what each of the hub's processes spends a second."""
        before, began = self.crowd.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return {name: (now - before[name]) / took for name, now in self.crowd.cpu_seconds().items()}

    def quiet(self) -> dict[str, float]:
        with self.crowd.watched() as seen:
            time.sleep(QUIET_SECONDS)
        return {"megabytes": self._megabytes, "gap_ms": seen.gap_ms, "lost": seen.lost}

    def once(self) -> dict[str, float]:
        return self._storm([0.0] * len(self.crowd.crowd))

    def spread(self) -> dict[str, float]:
        return self._storm(spread(list(self.crowd.crowd)))

    def _storm(self, delays: list[float]) -> dict[str, float]:
        """Let all come; return what it took. What the hub spends with nobody coming is not in it."""
        crowd, count = self.crowd, len(delays)
        with crowd.watched() as seen:
            before, worked, began = crowd.cpu_seconds(), crowd.busy(), time.monotonic()
            arrived = crowd.come(delays)
            busy = {core: (now - worked[core]) / arrived.after[-1] for core, now in crowd.busy().items()}
            until(lambda: len(crowd.routes()) == count + 1, ROUTED_SECONDS)
            took = time.monotonic() - began
            after = crowd.cpu_seconds()
        cost = {name: (now - before[name] - self._quiet[name] * took) * 1000 / count for name, now in after.items()}
        return {
            "in_seconds": arrived.after[-1],
            "routed_seconds": took,
            "median_seconds": quantile(arrived.took, 0.5),
            "slowest_seconds": arrived.took[-1],
            "tries_in_vain": arrived.tries,
            "megabytes": crowd.megabytes(),
            "gap_ms": seen.gap_ms,
            "lost": seen.lost,
            "sent": seen.sent,
            **{f"{core}_core": share for core, share in busy.items()},
            **{f"{name}_ms": milliseconds for name, milliseconds in cost.items()},
        }

    def claims(self) -> dict[str, float]:
        """Let all claim their traffic at once."""
        before = self.crowd.cpu_seconds()
        with self.crowd.watched() as seen:
            after = self.crowd.claim(ELSEWHERE_NUMBER)
        spent = {name: now - before[name] for name, now in self.crowd.cpu_seconds().items()}
        return {
            "all_seconds": after[-1],
            "median_seconds": quantile(after, 0.5),
            "agent_ms": spent["hub"] * 1000 / len(after),
            "gap_ms": seen.gap_ms,
            "lost": seen.lost,
        }

    def rest(self) -> dict[str, float]:
        """Return what a second of all hosts costs OpenVPN, with nobody probing and with some."""
        count = len(self.crowd.crowd)
        silent = self._spent(self._seconds)[DOOR] - self._quiet[DOOR]
        with self.crowd.probed(self._probing):
            time.sleep(SETTLE_SECONDS)
            probing = self._spent(self._seconds)[DOOR] - self._quiet[DOOR] - silent
        return {"silent_ms": silent * 1000 / count, "probing_ms": probing * 1000 / self._probing}

    def leave(self) -> dict[str, float]:
        """Let all vanish at once."""
        with self.crowd.watched() as seen:
            began = time.monotonic()
            self.crowd.go()
            until(lambda: self.crowd.here() == 1, FORGOTTEN_SECONDS)
            forgotten = time.monotonic() - began
        until(lambda: len(self.crowd.routes()) == 1, ROUTED_SECONDS)
        return {"forgotten_seconds": forgotten, "gap_ms": seen.gap_ms, "lost": seen.lost}


def before_others() -> None:
    """Take the cores before whatever else this computer does, where that is allowed: both have all to do."""
    os.setsid()  # the kernel shares cores between sessions first, then between processes (sched(7), autogroup)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        Path("/proc/self/autogroup").write_text(str(NICE))


def main() -> None:
    before_others()
    hosts, seconds, probing = (int(word) for word in sys.argv[1:4])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(PLACE)], check=True)
    with ExitStack() as stack:
        one = Round(Crowd(PLACE, stack, hosts), seconds, min(probing, hosts))
        for part in sys.argv[4].split(","):
            one.figures[part] = getattr(one, part)()
        print(json.dumps(one.figures), flush=True)
        # All that there is ends with this process, the first of its namespaces.
        os._exit(0)


if __name__ == "__main__":
    assert inside_apart(), "run it by bench/storm"
    main()
