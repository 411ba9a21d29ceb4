"""What is wrong with a stack file, said so that the reader can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class StackError:
    """One mistake: where it stands, what stands there, which limit that breaks, and the cure."""

    place: str  # "sites.oregon.hubs.a.id", as the keys are nested in the stack file
    value: str  # as Python would write it; "" where nothing stands there
    limit: str
    cure: str

    def __str__(self) -> str:
        value = f" {self.value}" if self.value else ""
        return f"vcubev:{self.place}:{value} {self.limit}. {self.cure}"


class StackErrors(Exception):
    """Every mistake of one stack file, in the order of their places."""

    def __init__(self, errors: Iterable[StackError]) -> None:
        self.errors = tuple(sorted(set(errors)))
        count = len(self.errors)
        lines = [f"the stack file has {count} error{'' if count == 1 else 's'}; nothing was changed", *self.errors]
        super().__init__("\n  ".join(map(str, lines)))
