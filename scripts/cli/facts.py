"""Reads what a machine prints once of its programs and its kernel (gather.FACTS)."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from scripts.cli.snapshot import Offload, Versions

VERSION = re.compile(r"(?:OpenVPN|BIRD version) (\S+)")


def facts_of(printed: list[str]) -> dict[str, Any]:
    """Read what FACTS printed."""
    if not printed:
        return {}
    openvpn = next((found[1] for line in printed if (found := VERSION.match(line)) and "OpenVPN" in line), "")
    bird = next((found[1] for line in printed if (found := VERSION.match(line)) and "BIRD" in line), "")
    device = None
    with contextlib.suppress(LookupError, TypeError):
        device = _told(printed, list)[-1][0]["linkinfo"]["info_kind"]
    return {"versions": Versions(openvpn, bird, printed[0]), "dco": device and device.startswith("ovpn")}


def offload_of(printed: list[str]) -> Offload | None:
    """Return what a hub found out about its kernel; None if it has not."""
    with contextlib.suppress(LookupError):
        told = _told(printed, dict)[-1]
        return Offload(str(told["kernel"]), bool(told["openvpn"]))
    return None


def _told(printed: list[str], kind: type) -> list[Any]:
    """Return what is JSON of one kind in what FACTS printed."""
    found = []
    for line in printed:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [one for one in found if isinstance(one, kind) and one]
