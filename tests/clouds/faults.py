"""What clouds do at their worst, ordered by tests: POST /_cloud/faults."""

from __future__ import annotations

import threading
from dataclasses import dataclass

NEVER = 10**9


@dataclass
class Fault:
    """Befalls the next `times` calls of a kind.

    `after`: the call is carried out first, and only its answer is lost. `boot_after_seconds`: the call goes well, but
    the machine that it makes boots late, or with `NEVER` not at all; its cloud says that it runs, as clouds do.
    `boot_fails`: the call goes well, and then the cloud itself gives up on the machine.
    """

    call: str  # "RunInstances", "POST /linode/instances"
    times: int = 1
    status: int = 500
    code: str = "InternalError"
    message: str = "An internal error has occurred"
    after: bool = False
    boot_after_seconds: float = 0
    boot_fails: bool = False

    @property
    def refuses(self) -> bool:
        """Whether the call is not even carried out."""
        return not (self.after or self.boot_after_seconds or self.boot_fails)


class Faults:
    """Orders, in the order in which they were given, and how often each call came."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []
        self.calls: dict[str, int] = {}
        self._lock = threading.Lock()

    def order(self, fault: Fault) -> None:
        with self._lock:
            self._orders.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def next(self, call: str) -> Fault | None:
        """Return what befalls this call, and count it."""
        with self._lock:
            self.calls[call] = self.calls.get(call, 0) + 1
            for fault in self._orders:
                if fault.call == call:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._orders.remove(fault)
                    return fault
            return None
