"""How this machine is, where a bundle of files says how it should be. Changes nothing; runs as root.

Comes by stdin beside what needs it: the installer, and what compares a whole machine with its stack's state.
"""

import hashlib
import os
import pathlib
import re
import stat
import subprocess

FILTER = "/etc/nftables.conf"
FILTER_TABLE = ("table", "inet", "vcubev")
SETTINGS = "/etc/sysctl.d/60-vcubev.conf"
# What a rule with a memory has in it at this moment.
ELEMENTS = re.compile(r"\s*elements = \{[^}]*\}")


def faults_of(path, content_sha256, mode):
    """Return what is wrong with a file, in words; all of them are root's.

    Args:
        mode: As text, "0644".
    """
    try:
        known = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ["missing"]
    if not stat.S_ISREG(known.st_mode):
        return [f"a symbolic link to {os.readlink(path)}" if stat.S_ISLNK(known.st_mode) else "no regular file"]
    faults = []
    if hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() != content_sha256:
        faults.append("changed")
    if stat.S_IMODE(known.st_mode) != int(mode, 8):
        faults.append(f"mode {stat.S_IMODE(known.st_mode):04o} instead of {mode}")
    if (known.st_uid, known.st_gid) != (0, 0):
        faults.append(f"owner {known.st_uid}:{known.st_gid} instead of root")
    return faults


def missing_packages(packages):
    """Return those that are not installed."""
    if not packages:
        return []
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    there = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in there]


def settings_off(text):
    """Return (name, should be, is) for each kernel setting that is not as a sysctl file says."""
    off = []
    for line in text.splitlines():
        name, equals, wanted = (part.strip() for part in line.partition("="))
        if not equals or name.startswith("#"):
            continue
        try:
            # The kernel parts the numbers of one setting by tabs.
            found = " ".join(pathlib.Path("/proc/sys", *name.split(".")).read_text().split())
        except OSError as problem:
            found = problem.strerror
        if found != wanted:
            off.append((name, wanted, found))
    return off


def filter_in_kernel():
    """Return the packet filter that is in force, without what it counts and remembers; "" where there is none."""
    return _listed(["nft", "-s", "list", *FILTER_TABLE])


def filter_of(file):
    """Return the packet filter that a file makes, as the kernel shows it; None where that cannot be told.

    It is loaded in a network of its own, which nothing goes through, and which is gone at once.
    """
    script = f'nft -f "$0" && nft -s list {" ".join(FILTER_TABLE)}'
    return _listed(["unshare", "--net", "sh", "-c", script, file]) or None


def _listed(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return ELEMENTS.sub("", done.stdout) if done.returncode == 0 else ""
