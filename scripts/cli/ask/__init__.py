"""Asks clouds what this program cannot know from its own state: who is signed in, and what is still there.

One module a cloud, of the cloud's name in the stack file, with what `Asker` says. A cloud without one cannot be asked.
Each honours the endpoints that the cloud's provider plugin honours, so emulated clouds can be asked as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

# As components/clouds marks what it makes.
STACK_TAG = "vcubev:stack"


class CannotAsk(Exception):
    """A cloud gave no answer; carries one sentence with the cure, never a credential."""


@dataclass(frozen=True, order=True)
class Leftover:
    """One thing of a stack that is there."""

    cloud: str
    region: str
    kind: str
    what: str


class Asker(Protocol):
    """What each module here has."""

    def signed_in(self, region: str, account: str) -> str:
        """Return whom the cloud takes the user for.

        Raises:
            CannotAsk: It takes them for nobody, or cannot be reached.
        """
        ...

    def leftovers(self, stack: str, region: str, account: str) -> Iterator[Leftover]:
        """Find what carries a stack's tag in one region of one account.

        Raises:
            CannotAsk: See `signed_in`.
        """
        ...


def asker(cloud: str) -> Asker | None:
    """Load a cloud's module, and with it its client library."""
    if not (Path(__file__).parent / f"{cloud}.py").exists():
        return None
    try:
        return import_module(f"{__name__}.{cloud}")  # type: ignore[return-value]
    except ModuleNotFoundError as lacking:
        raise CannotAsk(f"{cloud}: its client library {lacking.name} is not installed (uv sync installs it)") from None
