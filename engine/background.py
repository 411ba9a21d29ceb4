"""Commands in the background (`./scripts/up lab &`): a shell lets them ignore SIGINT, and so do all whom they start."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def let_engine_end_its_own() -> None:
    """Heed SIGINT again where it is ignored, without hearing the terminal's Ctrl-C.

    By SIGINT the engine ends its language host, twice a run, and its plugins. It gives those that ignore it five
    seconds, then kills them.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        return
    with suppress(PermissionError):  # the first of a group of its own, which no Ctrl-C was meant for
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
