"""The engine's home directory: whose log-in it uses, and how it goes without a log of each run."""

from __future__ import annotations

import os
from pathlib import Path

HOME, CREDENTIALS = "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH"
KEEP_LOG = "VCUBEV_ENGINE_LOG"
LOGS = "logs"
# What engines share: plugins above all, of which a cloud's has hundreds of megabytes.
SHARED = ("plugins", "policies", "schemas", "workspaces")


def credentials_file() -> Path:
    """Return where the engine keeps the user's log-in, whether or not there is one."""
    return _credentials() / "credentials.json"


def without_log() -> dict[str, str]:
    """Return the environment in which the engine writes no log of its own, making the home that it needs.

    That log is for the engine's makers (`pulumi logs`). It holds each property of each call, packed and encrypted, and
    takes more than half of the engine's time (`bench/program`); no setting turns it off. An engine that cannot have
    the directory, because a file is there, goes on without. So a home within the user's own has such a file, and
    everything else of the user's by links. Empty where the user wants the log, or the home cannot be made.
    """
    home = _home()
    if os.environ.get(KEEP_LOG) or (home / LOGS).is_file():
        return {}
    quiet = home / "vcubev"
    try:
        quiet.mkdir(mode=0o700, parents=True, exist_ok=True)
        (quiet / LOGS).touch()
        for name in SHARED:
            (home / name).mkdir(mode=0o700, exist_ok=True)
            if not (quiet / name).is_symlink():
                (quiet / name).symlink_to(home / name)
    except OSError:
        return {}
    return {HOME: str(quiet), CREDENTIALS: str(_credentials())}


def _home() -> Path:
    return Path(os.environ.get(HOME) or Path.home() / ".pulumi")


def _credentials() -> Path:
    return Path(os.environ.get(CREDENTIALS) or _home())
