"""Moves hosts off a hub, or lets them come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from components.model.render import HOOKS
from scripts.cli.inventory import Inventory
from scripts.cli.reach import HUB_STATE, Findings, Observer

POLL_SECONDS = 0.2
LEAVE_SECONDS = 15  # hosts hear of it within a tenth of a second; those with no other hub stay
TUNNELS_SECONDS = 30  # their spare tunnels go some seconds later
RETURN_SECONDS = 20


class HubUnreachable(Exception):
    """The hub cannot be told anything now; carries the reason."""


async def drain(inventory: Inventory, hub: str, undo: bool, tell: Callable[[str], None]) -> bool:
    """Drain one hub, or undo that; return whether it ended as wanted.

    Args:
        hub: "site/hub".
        tell: Takes each line of progress.

    Raises:
        HubUnreachable: SSH does not reach it.
    """
    findings = Findings()
    async with Observer(inventory) as observer:
        await observer.connect(findings, only={hub})
        if hub in findings.unreachable:
            raise HubUnreachable(f"hub {hub} cannot be reached by SSH: {findings.unreachable[hub]}")

        async def state() -> dict[str, int]:
            return json.loads(await observer.run(hub, f"cat {HUB_STATE}"))

        async def until(done: Callable[[dict[str, int]], bool], seconds: float) -> dict[str, int]:
            deadline = asyncio.get_running_loop().time() + seconds
            shown = ""
            while True:
                now = await state()
                line = f"{hub}: traffic of {now['preferred']} hosts, {now['carried']} tunnels"
                if line != shown:
                    tell(line)
                    shown = line
                if done(now) or asyncio.get_running_loop().time() > deadline:
                    return now
                await asyncio.sleep(POLL_SECONDS)

        if undo:
            await observer.run(hub, f"sudo {HOOKS}/drain off")
            return bool((await until(lambda now: now["fit"] == 1, RETURN_SECONDS))["fit"])
        await observer.run(hub, f"sudo {HOOKS}/drain on")
        left = await until(lambda now: now["draining"] == 1 and now["preferred"] == 0, LEAVE_SECONDS)
        if left["preferred"] == 0:
            await until(lambda now: now["carried"] == 0, TUNNELS_SECONDS)
        return left["preferred"] == 0
