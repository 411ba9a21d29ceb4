"""Pings: some addresses again and again, others now and then. fping does them."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable

PROHIBITED = "Administratively Prohibited"
PAUSE_SECONDS = 0.2  # until an fping that ended is started again
ANSWER = re.compile(r"^(\S+)\s+: \[\d+\], \d+ bytes, ([\d.]+) ms")
LOOKED_AT = re.compile(r"^(\S+)\s+: ([\d. -]+)$")
REFUSAL = re.compile(rf"{PROHIBITED} from (\S+) ")


class Prober:
    """Pings a set of addresses, each at the same pace, and hands on what comes back."""

    def __init__(self, period_seconds: float, source: str | None, heard: Callable[[str, float | None], None]) -> None:
        """Begin with none.

        Args:
            source: The address to ping from; None leaves it to the kernel.
            heard: Is told (address, round trip in seconds), or None for one that refuses but is there.
        """
        self._period, self._heard = period_seconds, heard
        self._source = ("-S", source) if source else ()
        self._targets: tuple[str, ...] = ()
        self._task: asyncio.Task | None = None

    def ping(self, targets: Iterable[str]) -> None:
        """Ping these, and no others."""
        targets = tuple(sorted(targets))
        if targets == self._targets:
            return
        self.end()
        self._targets = targets
        if targets:
            self._task = asyncio.get_running_loop().create_task(self._listen(targets))

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._targets = None, ()

    async def _listen(self, targets: tuple[str, ...]) -> None:
        command = ("fping", "-l", "-p", str(round(self._period * 1000)), "-t", "1000", *self._source, *targets)
        while True:
            fping = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            try:
                while line := (await fping.stdout.readline()).decode(errors="replace"):
                    if found := ANSWER.match(line):
                        self._heard(found[1], float(found[2]) / 1000)
                    elif found := REFUSAL.search(line):
                        self._heard(found[1], None)
                await fping.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    fping.kill()
            await asyncio.sleep(PAUSE_SECONDS)


async def look_at(targets: Iterable[str]) -> dict[str, float | None]:
    """Ping each of these three times; return the shortest round trip of each in seconds, None without an answer."""
    targets = sorted(targets)
    if not targets:
        return {}
    fping = await asyncio.create_subprocess_exec(
        "fping", "-q", "-C", "3", "-p", "200", "-t", "1000", *targets,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        told = (await fping.communicate())[0].decode(errors="replace")
    finally:
        with contextlib.suppress(ProcessLookupError):
            fping.kill()
    return looked_at(told, targets)


def looked_at(told: str, targets: Iterable[str]) -> dict[str, float | None]:
    """Read what `fping -q -C` printed."""
    found = dict.fromkeys(targets)
    for line in told.splitlines():
        if (seen := LOOKED_AT.match(line)) and seen[1] in found:
            times = [float(part) / 1000 for part in seen[2].split() if part != "-"]
            found[seen[1]] = min(times, default=None)
    return found
