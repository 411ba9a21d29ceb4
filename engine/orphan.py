"""A plugin whose engine was killed ends as well, instead of waiting for a caller that never comes."""

from __future__ import annotations

import os
import threading
import time

POLL_SECONDS = 1.0


def end_with_engine() -> None:
    """Watch from a thread of its own for the engine's end.

    Not PR_SET_PDEATHSIG: that is sent when the *thread* that started the plugin ends, and Go's threads come and go.
    """
    engine = os.getppid()
    threading.Thread(target=_watch, args=(engine,), daemon=True).start()


def _watch(engine: int) -> None:
    while os.getppid() == engine:
        time.sleep(POLL_SECONDS)
    # What is half made is the next `up`'s or `down`'s to clear, as after any crash.
    os._exit(1)
