"""Has the next installation take away files that are not of the stack. Runs as root, comes by stdin.

It puts them on the installer's list of a bundle's files, and what is on that list and not in the bundle goes. A copy
stays on the machine.
"""

import fcntl
import json
import os
import pathlib
import shutil

BUNDLES, KEPT = pathlib.Path("/var/lib/vcubev/bundles"), pathlib.Path("/var/lib/vcubev/taken-away")


def disown(name, files):
    record = BUNDLES / f"{name}.json"
    try:
        known = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):  # a damaged one is made anew
        known = {"files": {}, "units": []}
    for path in files:
        copy = pathlib.Path(f"{KEPT}{path}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)
    known["files"].update(files)
    draft = record.with_suffix(".new")
    draft.write_text(json.dumps(known))
    draft.replace(record)


def main(foreign):
    """Take bundle -> path -> what is to follow on its removal."""
    os.umask(0o077)
    BUNDLES.mkdir(parents=True, exist_ok=True)
    with open(BUNDLES / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, files in foreign.items():
            disown(name, files)
    print("{}")
