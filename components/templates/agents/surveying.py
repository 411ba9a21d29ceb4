"""Looks at hubs from outside now and then: which live, which are fit, which are near, and how large packets may be."""

import asyncio
import time

import sizes
from choice import Choice
from tunnels import Hub, Path, surveyed

SURVEY_SECONDS = 30
SURVEY_SOON_SECONDS = 5  # while a tunnel looks for a hub


class Surveyor:
    """Tells `choice` what it has seen."""

    def __init__(self, choice: Choice, sizes: tuple[int, int]) -> None:
        """Begin with nothing seen.

        Args:
            sizes: How large packets may be, in bytes: at best, and everywhere.
        """
        self._choice, self._sizes = choice, sizes
        self._found: dict[str, int] = {}  # hub's address -> the size that comes through

    def mtu_bytes(self, path: Path) -> int:
        """Return how large packets in a tunnel may be. TCP splits what is sent, so there nothing is won."""
        everywhere = self._sizes[-1]
        if path.hub is None or path.transport != "udp":
            return everywhere
        address, _ = path.hub.door(path.transport, self._choice.seat, path.turn)
        return self._found.get(address, everywhere)

    async def run(self) -> None:
        while True:
            hubs = list(self._choice.hubs.values())
            endpoints = {address: hub.id for hub in hubs for address in hub.addresses}
            if endpoints:
                fping = await asyncio.create_subprocess_exec(
                    "fping", "-q", "-C", "3", "-p", "200", "-t", "1000", *endpoints,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                )  # fmt: skip
                told = (await fping.communicate())[0].decode(errors="replace")
                self._choice.survey = surveyed(told, endpoints)
            await self._measure(hubs)
            now = time.monotonic()
            settled = all(path.works(now) for path in self._choice.paths.values())
            await asyncio.sleep(SURVEY_SECONDS if settled else SURVEY_SOON_SECONDS)

    async def _measure(self, hubs: list[Hub]) -> None:
        """Find out where large packets come through: in a site's own network, if anywhere."""
        inner = [hub.inner for hub in hubs if hub.inner]
        found = await asyncio.gather(*(sizes.largest(address, self._sizes) for address in inner))
        # Of one that does not answer at all, what was found before holds.
        self._found |= {address: size for address, size in zip(inner, found, strict=True) if size is not None}
