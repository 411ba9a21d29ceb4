"""Loads this machine's packet filter, and takes back one that would cut the very session that it came by."""

import os
import pathlib
import subprocess
import sys
import time

from actual import FILTER
from commands import run

BEFORE = pathlib.Path("/run/vcubev-filter.before")
TAKE_BACK_UNIT = "vcubev-filter-take-back"
TAKE_BACK_SECONDS = 30  # if this installation itself is lost
ANSWER_SECONDS = 5  # SSH over a slow path has this long to acknowledge a line
# The session is forgotten by connection tracking: the new rules judge it as if it were to begin now.
TRIAL = """table inet vcubev_trial
delete table inet vcubev_trial
table inet vcubev_trial {{
  chain input {{
    type filter hook prerouting priority raw;
    {family} saddr {client} tcp sport {client_port} tcp dport {own_port} notrack
  }}
  chain output {{
    type filter hook output priority raw;
    {family} daddr {client} tcp dport {client_port} tcp sport {own_port} notrack
  }}
}}
"""


def session():
    """Return (client, its port, own address, own port) of the SSH session that this came by; None if by no such."""
    process = os.getpid()
    while process > 1:
        for entry in pathlib.Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"SSH_CONNECTION="):
                return entry.partition(b"=")[2].decode().split()
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        process = int(status.partition("PPid:")[2].split()[0])
    return None


def answered(client_port, own_port):
    """Print a line, and tell whether the client has acknowledged it in time."""

    def sent():
        shown = subprocess.run(
            ["ss", "-tniH", "state", "connected", f"dport = :{client_port} and sport = :{own_port}"],
            capture_output=True,
            text=True,
        ).stdout
        numbers = dict(word.split(":", 1) for word in shown.split() if word.count(":") == 1)
        return int(numbers.get("bytes_sent", 0)), "unacked" in numbers or "notsent" in numbers

    before, _ = sent()
    print("packet filter changed", flush=True)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        now, waiting = sent()
        if now > before and not waiting:
            return True
        time.sleep(0.02)
    return False


def try_filter():
    """Load the packet filter as it now stands in its files; take it back if it cuts this session.

    Raises:
        SystemExit: It was taken back, or nft does not take it.
    """
    run("nft", "-c", "-f", FILTER)
    known = subprocess.run(["nft", "list", "table", "inet", "vcubev"], capture_output=True, text=True).stdout
    empty = "table inet vcubev\ndelete table inet vcubev\ntable inet vcubev_trial\ndelete table inet vcubev_trial\n"
    BEFORE.touch(mode=0o600)
    BEFORE.write_text(empty + known)
    ends = session()
    if ends is None:
        run("nft", "-f", FILTER)
        return
    subprocess.run(["systemctl", "stop", f"{TAKE_BACK_UNIT}.timer"], capture_output=True)
    later = ("--collect", f"--unit={TAKE_BACK_UNIT}", f"--on-active={TAKE_BACK_SECONDS}", "nft", "-f", str(BEFORE))
    run("systemd-run", "--quiet", *later)
    client, client_port, _, own_port = ends
    family = "ip6" if ":" in client else "ip"
    trial = TRIAL.format(family=family, client=client, client_port=client_port, own_port=own_port)
    subprocess.run(["nft", "-f", "-"], input=trial, text=True, check=True)
    try:
        run("nft", "-f", FILTER)
        kept = answered(client_port, own_port)
    except BaseException:
        run("nft", "-f", str(BEFORE))
        raise
    finally:
        run("systemctl", "stop", f"{TAKE_BACK_UNIT}.timer")
    if not kept:
        run("nft", "-f", str(BEFORE))
        sys.exit("the new packet filter would cut the SSH session that it came by: the old one is back")
    run("nft", "delete", "table", "inet", "vcubev_trial")
