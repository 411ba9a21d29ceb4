"""Installs a bundle of files on this machine, or removes one. Runs as root; comes by stdin, in the bundle itself.

Writes are atomic, unchanged files are left alone, files that left the bundle are deleted, only what a changed
file concerns is restarted. Prints paths, never contents.
"""

import contextlib
import fnmatch
import json
import os
import pathlib
import subprocess
import sys

BUNDLES = pathlib.Path("/var/lib/vcubev/bundles")
DRAIN = "/usr/local/lib/vcubev/drain"
CHECKS = {"/etc/nftables.conf": ["nft", "-c", "-f"], "/etc/bird/bird.conf": ["bird", "-p", "-c"]}
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


def install(bundle):
    old = load_manifest(bundle["name"])
    gone = [path for path in old["files"] if path not in bundle["files"]]
    # Present while an installation runs: one broken off half-way has files in place that nothing was told of.
    unfinished = BUNDLES / f"{bundle['name']}.unfinished"
    resumed = unfinished.exists()
    BUNDLES.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    # Those with a check come last: they may name the others.
    paths = sorted(bundle["files"], key=lambda path: path in CHECKS)
    changed = [path for path in paths if write(path, bundle["files"][path]) or resumed]
    for path in gone:
        pathlib.Path(path).unlink(missing_ok=True)
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
    todo = [a for a in dict.fromkeys(actions) if not covered(a, actions, started)]
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
    act(a for actions in old["files"].values() for a in actions if not a.endswith(tuple(old["units"]) or ("\0",)))
    (BUNDLES / f"{name}.json").unlink(missing_ok=True)
    print("\n".join(f"removed {path}" for path in old["files"]) or "no change")


def main(verb, bundle):
    if verb == "install":
        install(bundle)
    else:
        remove(bundle["name"])
