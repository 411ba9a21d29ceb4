"""What `vcubev doctor` knows of a stack, and how it says what is wrong. Pure, as are the judges beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from components.model.topology import Topology
from scripts.cli.inventory import Inventory


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong, and what to do about it."""

    kind: str
    where: str
    seen: str
    why: str  # it matters
    cures: tuple[str, ...]  # commands
    since: str = ""  # where it can be told


@dataclass(frozen=True)
class Examined:
    """All that was told."""

    stack: str
    topology: Topology
    inventory: Inventory
    facts: Mapping[str, Mapping[str, Any]]  # machine -> what it tells
    ahead_seconds: Mapping[str, float]  # how far its clock is before this computer's
    now: datetime
    resolvers: Mapping[str, bool] = field(default_factory=dict)  # machine -> whether its cloud gives it one

    def on(self, machine: str, command: str) -> str:
        return f"vcubev ssh {machine} --stack {self.stack} -- '{command}'"

    def repair(self, machine: str) -> str:
        return f"vcubev drift {self.stack} {machine} --repair"


def moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
