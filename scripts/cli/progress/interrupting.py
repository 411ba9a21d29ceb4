"""Ctrl-C while the engine runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# The engine ends decently at the first, at once at the second. What gets neither, being in no terminal, is killed.
LAST = 3


@contextmanager
def engine_ends_first(told: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep Ctrl-C from ending us before the engine, which has got it too and lets come to their end the steps that it
    has begun: `subprocess` would kill it after a quarter of a second, and nobody would know of a machine half made.

    Args:
        told: What is done at each.

    Raises:
        KeyboardInterrupt: When all is over, if it came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = 0

    def note(number: int, frame: Any) -> None:
        nonlocal came
        came += 1
        told()
        if came >= LAST:
            signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
