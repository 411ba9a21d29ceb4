"""The lab: this computer."""

from __future__ import annotations

from collections.abc import Iterator

from lab import leftovers as on_this_computer
from lab.records import Stack
from scripts.cli.ask import Leftover
from scripts.cli.lab import PROJECT


def signed_in(region: str, account: str) -> str:
    return "this computer"


def leftovers(stack: str, region: str, account: str) -> Iterator[Leftover]:
    for item in on_this_computer.find(Stack(project=PROJECT, name=stack)):
        yield Leftover("lab", "", item.kind, item.what)
