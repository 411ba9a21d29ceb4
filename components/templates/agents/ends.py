"""When a hub's certificates and its revocation list end, as the list's bundle says."""

import json
import os
import pathlib

LIST = pathlib.Path("/run/vcubev-crl/crl.pem")
TOLD = pathlib.Path("/etc/vcubev/crl/crl.json")


class Ends:
    """Looks at the list again when it has changed."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.revoked = 0
        self._seen = 0

    @property
    def missing(self) -> bool:
        """Whether OpenVPN would not start, for want of a list."""
        return not os.access(LIST, os.R_OK)

    def look(self) -> None:
        try:
            seen = TOLD.stat().st_mtime_ns
            if seen != self._seen:
                told = json.loads(TOLD.read_text())
                self.ends, self.revoked, self._seen = told["ends"], len(told["serials"]), seen
        except (OSError, ValueError, KeyError, TypeError):
            self.ends, self.revoked, self._seen = {}, 0, 0
