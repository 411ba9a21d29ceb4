"""Waiting for a cloud: until a thing is as wanted, or until nothing holds on to it any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from .properties import Failure

Found = TypeVar("Found")
POLL_SECONDS = 0.5
# What must have ended before something can go is often still at it (a machine holds its subnet for some seconds); the
# official plugins wait for minutes.
DEPENDENCY_SECONDS = 60
TRANSITION_SECONDS = 300
_limit: ContextVar[float] = ContextVar("limit", default=0)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let each thing that is awaited inside take as long as the program's custom timeout says; 0 if it says nothing."""
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


def await_state(
    look: Callable[[], Found | None],
    reached: Callable[[Found | None], bool],
    what: str,
    state: Callable[[Found], str] | None = None,
) -> Found | None:
    """Look until a thing is as wanted.

    Args:
        what: What is awaited, for the error.
        state: Tells for the error how the thing was at last.

    Raises:
        Failure: It was not in time.
    """
    limit = _limit.get() or TRANSITION_SECONDS
    deadline = time.monotonic() + limit
    while not reached(found := look()):
        if time.monotonic() > deadline:
            last = f"; it is {state(found)}" if state and found is not None else ""
            raise Failure(f"timed out waiting for {what}: not in {limit:g} s{last}")
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
