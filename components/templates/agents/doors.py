"""The doors of this hub: OpenVPN processes by which hosts come in, each with a device and a directory of sessions.

A door is there when its configuration is, so one more or one less needs no agent to start anew.
"""

import pathlib
import re

CONFIGS = pathlib.Path("/etc/vcubev")
RUN = pathlib.Path("/run")
NETWORK = pathlib.Path("/sys/class/net")
TRANSPORTS = ("udp", "tcp")
BY_DEVICE = re.compile(r"\bdev (hosts-[a-z0-9]+)")


def devices() -> list[str]:
    """Return the hosts' devices: hosts-tcp, hosts-udp, hosts-udp2, ..."""
    return sorted(path.stem for path in CONFIGS.glob("hosts-*.conf"))


def sessions(device: str) -> pathlib.Path:
    """Return where OpenVPN's hooks keep a file for each host that is connected by a device."""
    return RUN / f"vcubev-{device}"


def transport(door: str) -> str:
    """Return "udp" of udp, udp2, udp3, ..., and "tcp"."""
    return door.rstrip("0123456789")


def shut() -> list[str]:
    """Return the doors that nobody serves: a device is unplugged when its OpenVPN has ended, or never came up."""
    return [device.removeprefix("hosts-") for device in devices() if not _plugged(device)]


def _plugged(device: str) -> bool:
    try:
        return (NETWORK / device / "carrier").read_text().strip() == "1"
    except OSError:  # it is not there, or down
        return False


def counted(shown: str) -> dict[str, int]:
    """Return door -> how many hosts have come in by it.

    Args:
        shown: BIRD's routes to hosts here.
    """
    found = BY_DEVICE.findall(shown)
    return {device.removeprefix("hosts-"): found.count(device) for device in devices()}


def by_transport(counts: dict[str, int]) -> dict[str, int]:
    return {name: sum(count for door, count in counts.items() if transport(door) == name) for name in TRANSPORTS}
