"""Installs a bundle of files on this machine, or removes one. Runs as root; comes by stdin, in the bundle itself.

Writes are atomic, unchanged files are left alone, files that left the bundle are deleted, only what a changed
file concerns is restarted. Prints paths, never contents. A packet filter that would cut the very session that it came
by is taken back.
"""

import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import pathlib
import subprocess
import sys

from actual import FILTER, SETTINGS, faults_of, filter_in_kernel, filter_of, missing_packages, settings_off
from commands import run
from packet_filter import try_filter

BUNDLES = pathlib.Path("/var/lib/vcubev/bundles")
DRAIN = "/usr/local/lib/vcubev/drain"
DOORS = "vcubev-hosts@"  # units by which hosts come in
CHECKS = {"/etc/bird/bird.conf": ["bird", "-p", "-c"]}
MAIN_BUNDLES = ("hub", "host")  # bring that file, without which its parts have nothing to load
FILTER_FILES = (FILTER, "/etc/vcubev/services/*", "/etc/vcubev/doors/*")
LOAD_FILTER = "reload nftables.service"
USERS = "/etc/sysusers.d/vcubev.conf"
# Good for the first contact only; this installation came over the key that replaces it.
SEEDED_HOST_KEY = pathlib.Path("/etc/ssh/ssh_host_ecdsa_key")
# On a machine that the user has brought: its keys are none of ours.
BROUGHT = pathlib.Path("/var/lib/vcubev/brought")


def write(path, spec):
    """Write one file if it differs; return whether it did."""
    target = pathlib.Path(path)
    content, mode = spec["content"].encode(), int(spec["mode"], 8)
    if not faults_of(path, hashlib.sha256(content).hexdigest(), spec["mode"]):
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
    try:
        return json.loads(manifest.read_text())
    except (FileNotFoundError, ValueError):  # a damaged one is made anew
        return {"files": {}, "units": []}


def act(actions):
    for action in dict.fromkeys(actions):
        verb, _, rest = action.partition(" ")
        if verb == "restart" and rest.endswith(".socket"):
            # Where its service is at work systemd refuses to listen anew.
            run("systemctl", "stop", rest, rest.removesuffix("socket") + "service")
            verb = "start"
        run(*rest.split()) if verb == "run" else run("systemctl", verb, rest)


def covered(action, actions, started):
    """Whether an action's unit was just started, or another action for a pattern of units does the same."""
    verb, _, unit = action.partition(" ")
    others = [other.partition(" ")[2] for other in actions if other != action and other.startswith(f"{verb} ")]
    return any(fnmatch.fnmatch(new, unit) for new in started) or any(fnmatch.fnmatch(unit, other) for other in others)


@contextlib.contextmanager
def rolled(bundle, actions, started, before):
    """Restart what a hub's hosts depend on only when they have left, and end when their tunnels are back.

    Args:
        before: The units that this bundle had; one that is new carries nobody yet.
    """
    doors = {unit for unit in before if unit.startswith(DOORS)}
    hurts = not doors <= {*bundle["units"]} or any(action.startswith("restart ") for action in actions)
    if not (bundle["rolling"] and hurts and doors and not doors & {*started}):
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
    if (any(ruled(path) for path in (*changed, *gone)) and filters(bundle["name"])) or filter_lost(bundle):
        try:
            try_filter()
        except BaseException:
            restore(before)
            raise
    return changed


def filter_lost(bundle):
    """Tell whether the kernel has another packet filter than this bundle's file makes."""
    wanted = filter_of(FILTER) if FILTER in bundle["files"] else None
    return wanted is not None and wanted != filter_in_kernel()


def filters(bundle_name):
    """Tell whether the packet filter's main file is here, or comes with this bundle."""
    return any(name == bundle_name or (BUNDLES / f"{name}.json").exists() for name in MAIN_BUNDLES)


def fetch(packages):
    """Install what somebody has removed; cloud-init brought it once. Return what was wrong: the rest comes first."""
    if packages:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        subprocess.run(["apt-get", "update"], capture_output=True)  # yesterday's lists may do
        options = ("-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold", "--no-install-recommends")
        try:
            run("apt-get", "install", "-q", "-y", *options, *packages)
        except SystemExit as problem:
            return str(problem)
    return ""


def enable(unit):
    """Have a unit run, now and at each boot, masked or not."""
    if subprocess.run(["systemctl", "enable", "--now", unit], capture_output=True).returncode:
        for where in ((), ("--runtime",)):
            subprocess.run(["systemctl", "unmask", *where, unit], capture_output=True)
        run("systemctl", "enable", "--now", unit)


def install(bundle):
    old = load_manifest(bundle["name"])
    gone = [path for path in old["files"] if path not in bundle["files"]]
    # Present while an installation runs: one broken off half-way has files in place that nothing was told of.
    unfinished = BUNDLES / f"{bundle['name']}.unfinished"
    resumed = unfinished.exists()
    unfinished.touch()
    lacking = fetch(missing_packages(bundle["packages"]))
    changed = change_files(bundle, gone, resumed)
    kept = {path: spec["on_change"] for path, spec in bundle["files"].items()}
    manifest = json.dumps({"files": kept, "units": bundle["units"]})
    if changed or gone or bundle["units"]:  # or somebody else has changed a unit
        run("systemctl", "daemon-reload")
    if USERS in changed:  # before the units that run as them
        run("systemd-sysusers", USERS)
    left = [unit for unit in old["units"] if unit not in bundle["units"]]
    for unit in (unit for unit in left if not unit.startswith(DOORS)):
        subprocess.run(["systemctl", "disable", "--now", unit], capture_output=True)
    started = []
    for unit in bundle["units"]:
        if subprocess.run(["systemctl", "is-active", "-q", unit]).returncode:
            started.append(unit)
        enable(unit)
    if SETTINGS in bundle["files"] and settings_off(bundle["files"][SETTINGS]["content"]):
        run("sysctl", "-q", "-p", SETTINGS)
    actions = [a for p in changed for a in kept[p]] + [a for p in gone for a in old["files"][p]]
    # The packet filter is loaded by now.
    actions = [a for a in dict.fromkeys(actions) if a != LOAD_FILTER and not a.endswith(tuple(left))]
    todo = [a for a in actions if not covered(a, actions, started)]
    with rolled(bundle, todo, started, old["units"]):
        for unit in (unit for unit in left if unit.startswith(DOORS)):
            subprocess.run(["systemctl", "disable", "--now", unit], capture_output=True)
        act(todo)
    write(str(BUNDLES / f"{bundle['name']}.json"), {"content": manifest, "mode": "0600"})
    unfinished.unlink()
    if SEEDED_HOST_KEY.exists() and not BROUGHT.exists():
        SEEDED_HOST_KEY.unlink()
        SEEDED_HOST_KEY.with_suffix(".pub").unlink(missing_ok=True)
        run("systemctl", "reload", "ssh")
    if lacking:
        sys.exit(lacking)
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
