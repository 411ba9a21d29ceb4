"""Waiting for a cloud: until a thing is as wanted, or until nothing holds on to it any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .properties import Failure

Found = TypeVar("Found")
POLL_SECONDS = 0.5
# What must have ended before something can go is often still at it (a machine holds its subnet for some seconds); the
# official plugins wait for minutes.
DEPENDENCY_SECONDS = 60
TRANSITION_SECONDS = 300


def await_state(look: Callable[[], Found | None], reached: Callable[[Found | None], bool], what: str) -> Found | None:
    """Look until a thing is as wanted.

    Raises:
        Failure: It was not in time.
    """
    deadline = time.monotonic() + TRANSITION_SECONDS
    while not reached(found := look()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not in {TRANSITION_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return found


def remove_when_free(
    delete: Callable[[], object], is_gone: Callable[[Exception], bool], is_busy: Callable[[Exception], bool]
) -> None:
    """Delete a thing; that it is gone already is no error, and what still depends on it is waited for."""
    deadline = time.monotonic() + DEPENDENCY_SECONDS
    while True:
        try:
            delete()
            return
        except Exception as error:
            if is_gone(error):
                return
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)
