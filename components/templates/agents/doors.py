"""The doors of this hub: OpenVPN processes by which hosts come in, each with a device and a directory of sessions.

A door is there when its configuration is, so one more or one less needs no agent to start anew.
"""

import pathlib

CONFIGS = pathlib.Path("/etc/vcubev")
RUN = pathlib.Path("/run")


def devices() -> list[str]:
    """Return the hosts' devices: hosts-tcp, hosts-udp, hosts-udp2, ..."""
    return sorted(path.stem for path in CONFIGS.glob("hosts-*.conf"))


def sessions(device: str) -> pathlib.Path:
    """Return where OpenVPN's hooks keep a file for each host that is connected by a device."""
    return RUN / f"vcubev-{device}"


def transport(device: str) -> str:
    """Return "udp" or "tcp"."""
    return device.removeprefix("hosts-").rstrip("0123456789")
