"""Lets large packets take the links to hubs of the same site, where the site's own network carries them."""

import asyncio
import contextlib
import pathlib
from typing import Protocol

import sizes

LOOK_SECONDS = 10
NETWORK = pathlib.Path("/sys/class/net")


class Known(Protocol):
    """What a hub knows of hubs."""

    hubs: list[dict]
    inner: dict[str, str]


class Widths:
    """Looks again now and then: a link's device is made anew with the size that every underlay carries."""

    def __init__(self, config: dict) -> None:
        self._own, self._sizes = config["ipv4"], (config["jumbo_mtu_bytes"], config["mtu_bytes"])

    async def follow(self, known: Known) -> None:
        while True:
            for number, address in self.beside(known):
                if (size := await sizes.largest(address, self._sizes)) is not None:
                    await self._set(f"link{number}", size)
            await asyncio.sleep(LOOK_SECONDS)

    def beside(self, known: Known) -> list[tuple[int, str]]:
        """Return (number, address) of those hubs to which the link goes by the site's own network."""
        own = next((hub for hub in known.hubs if hub.get("ipv4") == self._own), None)
        if own is None or str(own["id"]) not in known.inner:
            return []
        others = [hub for hub in known.hubs if hub is not own and hub["site"] == own["site"]]
        return [(hub["id"], known.inner[str(hub["id"])]) for hub in others if str(hub["id"]) in known.inner]

    @staticmethod
    async def _set(device: str, size: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is not there
            if int((NETWORK / device / "mtu").read_text()) != size:
                print(f"{device}: packets of up to {size} bytes", flush=True)
                done = await asyncio.create_subprocess_exec("ip", "link", "set", "dev", device, "mtu", str(size))
                await done.wait()
