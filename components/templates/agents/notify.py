"""Tells systemd what it waits for."""

import os
import socket


def ready() -> None:
    """Tell systemd that this agent serves."""
    _tell(b"READY=1")


def alive() -> None:
    """Tell systemd that this agent goes on (WatchdogSec in its unit)."""
    _tell(b"WATCHDOG=1")


def _tell(word: bytes) -> None:
    """Say one of the words of sd_notify(3)."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + path[1:] if path.startswith("@") else path)
            notify.send(word)
