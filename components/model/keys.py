"""Generations of keys: which one is in use, and which is accepted beside it while one takes over from the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Resources of the first generation have no number in their names: stacks that never rotated have them so.
FIRST = (1,)
Generations = tuple[int, ...]  # the one in use, then another that is accepted, if there is one


@dataclass(frozen=True)
class Keys:
    """What `vcubev:keys` says; scripts/rotate writes it."""

    authority: Generations = FIRST
    login: Generations = FIRST
    members: Mapping[str, Generations] = field(default_factory=dict)  # by common name; those not in it have the first

    def of(self, common_name: str) -> Generations:
        return self.members.get(common_name, FIRST)


UNROTATED = Keys()


def numbered(name: str, generation: int) -> str:
    """Return the engine's name of a resource of one generation."""
    return name if generation == FIRST[0] else f"{name}-{generation}"
