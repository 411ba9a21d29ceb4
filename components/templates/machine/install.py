"""Installs a bundle of files on this machine, or removes one. Runs as root; comes by stdin, in the bundle itself.

Writes are atomic, unchanged files are left alone, files that left the bundle are deleted, only what a changed
file concerns is restarted. Prints paths, never contents. A packet filter that would cut the very session that it came
by is taken back.
"""

import contextlib
import fcntl
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import time

BUNDLES = pathlib.Path("/var/lib/vcubev/bundles")
DRAIN = "/usr/local/lib/vcubev/drain"
CHECKS = {"/etc/bird/bird.conf": ["bird", "-p", "-c"]}
FILTER = "/etc/nftables.conf"
MAIN_BUNDLES = ("hub", "host")  # bring that file, without which its parts have nothing to load
FILTER_FILES = (FILTER, "/etc/vcubev/services/*", "/etc/vcubev/doors/*")
LOAD_FILTER = "reload nftables.service"
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
USERS = "/etc/sysusers.d/vcubev.conf"
# Good for the first contact only; this installation came over the key that replaces it.
SEEDED_HOST_KEY = pathlib.Path("/etc/ssh/ssh_host_ecdsa_key")
# On a machine that the user has brought: its keys are none of ours.
BROUGHT = pathlib.Path("/var/lib/vcubev/brought")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}\n{details(command)}")


def details(command):
    if command[0] != "systemctl":
        return ""
    log = subprocess.run(["journalctl", "-n", "15", "--no-pager", "-u", command[-1]], capture_output=True, text=True)
    return log.stdout


def write(path, spec):
    """Write one file if it differs; return whether it did."""
    target = pathlib.Path(path)
    content, mode = spec["content"].encode(), int(spec["mode"], 8)
    if target.exists() and target.read_bytes() == content and target.stat().st_mode & 0o7777 == mode:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    # A fresh name each time and never a moment with wider rights than the file's own.
    draft = target.with_name(f".{target.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
        os.fchmod(out.fileno(), mode)
        os.fsync(out.fileno())
    if path in CHECKS:
        try:
            run(*CHECKS[path], str(draft))
        except SystemExit:
            draft.unlink()
            raise
    os.replace(draft, target)
    return True


def load_manifest(name):
    manifest = BUNDLES / f"{name}.json"
    return json.loads(manifest.read_text()) if manifest.exists() else {"files": {}, "units": []}


def act(actions):
    for action in dict.fromkeys(actions):
        verb, _, rest = action.partition(" ")
        run(*rest.split()) if verb == "run" else run("systemctl", verb, rest)


def covered(action, actions, started):
    """Whether an action's unit was just started, or another action for a pattern of units does the same."""
    verb, _, unit = action.partition(" ")
    others = [other.partition(" ")[2] for other in actions if other != action and other.startswith(f"{verb} ")]
    return any(fnmatch.fnmatch(new, unit) for new in started) or any(fnmatch.fnmatch(unit, other) for other in others)


@contextlib.contextmanager
def rolled(bundle, actions, started):
    """Restart what a hub's hosts depend on only when they have left, and end when their tunnels are back."""
    carries = not any(unit.startswith("vcubev-hosts@") for unit in started)
    if not (bundle["rolling"] and carries and any(action.startswith("restart ") for action in actions)):
        yield
        return
    carried = subprocess.run([DRAIN, "carried"], capture_output=True, text=True).stdout.strip() or "0"
    run(DRAIN, "roll")
    try:
        yield
    finally:
        run(DRAIN, "settle", carried)


def ruled(path):
    """Tell whether a file is part of the packet filter."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in FILTER_FILES)


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


def restore(contents):
    """Give files the contents that they had; those that were not there go."""
    for path, content in contents.items():
        if content is None:
            pathlib.Path(path).unlink(missing_ok=True)
        else:
            pathlib.Path(path).write_bytes(content)


def change_files(bundle, gone, resumed):
    """Write a bundle's files, take away those that left it, and load the packet filter if that changed.

    Returns:
        The paths that changed.
    """
    concerned = [path for path in (*bundle["files"], *gone) if ruled(path)]
    before = {path: target.read_bytes() if (target := pathlib.Path(path)).exists() else None for path in concerned}
    # Those with a check come last: they may name the others.
    paths = sorted(bundle["files"], key=lambda path: path in CHECKS)
    changed = [path for path in paths if write(path, bundle["files"][path]) or resumed]
    for path in gone:
        pathlib.Path(path).unlink(missing_ok=True)
    if any(ruled(path) for path in (*changed, *gone)) and filters(bundle["name"]):
        try:
            try_filter()
        except BaseException:
            restore(before)
            raise
    return changed


def filters(bundle_name):
    """Tell whether the packet filter's main file is here, or comes with this bundle."""
    return any(name == bundle_name or (BUNDLES / f"{name}.json").exists() for name in MAIN_BUNDLES)


def install(bundle):
    old = load_manifest(bundle["name"])
    gone = [path for path in old["files"] if path not in bundle["files"]]
    # Present while an installation runs: one broken off half-way has files in place that nothing was told of.
    unfinished = BUNDLES / f"{bundle['name']}.unfinished"
    resumed = unfinished.exists()
    unfinished.touch()
    changed = change_files(bundle, gone, resumed)
    kept = {path: spec["on_change"] for path, spec in bundle["files"].items()}
    manifest = json.dumps({"files": kept, "units": bundle["units"]})
    if changed or gone:
        run("systemctl", "daemon-reload")
    if USERS in changed:  # before the units that run as them
        run("systemd-sysusers", USERS)
    for unit in (unit for unit in old["units"] if unit not in bundle["units"]):
        subprocess.run(["systemctl", "disable", "--now", unit], capture_output=True)
    started = []
    for unit in bundle["units"]:
        if subprocess.run(["systemctl", "is-active", "-q", unit]).returncode:
            started.append(unit)
        run("systemctl", "enable", "--now", unit)
    actions = [a for p in changed for a in kept[p]] + [a for p in gone for a in old["files"][p]]
    # The packet filter is loaded by now.
    todo = [a for a in dict.fromkeys(actions) if a != LOAD_FILTER and not covered(a, actions, started)]
    with rolled(bundle, todo, started):
        act(todo)
    write(str(BUNDLES / f"{bundle['name']}.json"), {"content": manifest, "mode": "0600"})
    unfinished.unlink()
    if SEEDED_HOST_KEY.exists() and not BROUGHT.exists():
        SEEDED_HOST_KEY.unlink()
        SEEDED_HOST_KEY.with_suffix(".pub").unlink(missing_ok=True)
        run("systemctl", "reload", "ssh")
    print("\n".join([f"changed {path}" for path in changed] + [f"removed {path}" for path in gone]) or "no change")


def remove(name):
    old = load_manifest(name)
    for unit in reversed(old["units"]):
        subprocess.run(["systemctl", "disable", "--now", unit], capture_output=True)
    for path in old["files"]:
        pathlib.Path(path).unlink(missing_ok=True)
    actions = [a for actions in old["files"].values() for a in actions]
    loads = filters(name)
    act(a for a in actions if not a.endswith(tuple(old["units"]) or ("\0",)) and (loads or a != LOAD_FILTER))
    (BUNDLES / f"{name}.json").unlink(missing_ok=True)
    print("\n".join(f"removed {path}" for path in old["files"]) or "no change")


def main(verb, bundle):
    BUNDLES.mkdir(parents=True, exist_ok=True)
    # Several may come at once, each by a session of its own; the packet filter is one.
    with open(BUNDLES / ".lock", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "install":
            install(bundle)
        else:
            remove(bundle["name"])
