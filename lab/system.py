"""This computer: commands run on it, what the lab needs of it, and which machine a process belongs to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

TOOLS = {
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


class LabError(Exception):
    """Says what the lab cannot do and what to do about it; shown without a traceback."""


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        LabError: It failed; carries its error text, never `stdin`.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Whether a command ends with exit code 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


# A machine's systemd and its services hold about ten; the kernel's default of 128 ends at a dozen machines, of which
# the last then die at boot with "Too many open files".
INOTIFY_INSTANCES = 8192
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")


def require() -> None:
    """Check that this computer can hold a lab, before anything is made, and raise the one limit that it needs.

    Raises:
        LabError: Names everything that is missing.
    """
    if os.geteuid() != 0:
        raise LabError("The lab makes network namespaces and containers, so it must run as root: try sudo.")
    missing = [f"{tool} (package {package})" for tool, package in TOOLS.items() if not shutil.which(tool)]
    if "\toverlay\n" not in Path("/proc/filesystems").read_text() and not succeeds("modprobe", "overlay"):
        missing.append("overlayfs in the kernel (CONFIG_OVERLAY_FS)")
    if not Path("/dev/net/tun").is_char_device():
        missing.append("/dev/net/tun (modprobe tun)")
    if cgroup_root() is None:
        missing.append("cgroup v2, mounted (cgroup.kill needs Linux 5.14)")
    if int(INOTIFY_LIMIT.read_text()) < INOTIFY_INSTANCES:
        try:
            INOTIFY_LIMIT.write_text(str(INOTIFY_INSTANCES))
        except OSError as error:
            missing.append(f"sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES} ({error})")
    if missing:
        raise LabError("The lab cannot run on this computer. Missing: " + "; ".join(missing) + ".")


def cgroup_root() -> Path | None:
    """Return where cgroup v2 is mounted: alone, or beside v1 in the hybrid layout."""
    for candidate in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (candidate / "cgroup.procs").exists() and (candidate / "cgroup.subtree_control").exists():
            return candidate
    return None
