"""Compares a machine with the bundles that its stack's state holds. Changes nothing; runs as root, comes by stdin.

Prints what differs, as JSON. Of a file that not everybody here may read, or that looks like a key, only that it does.
"""

import base64
import json
import pathlib
import subprocess
import tempfile

from actual import FILTER, faults_of, filter_in_kernel, filter_of, missing_packages, settings_off

BUNDLES = pathlib.Path("/var/lib/vcubev/bundles")
BROUGHT = pathlib.Path("/var/lib/vcubev/brought")
SERVICES = "/etc/vcubev/services"
# All that is in these comes from the stack: daemons take in whatever else is laid there.
OWNED = ("/etc/vcubev", "/usr/local/lib/vcubev", "/etc/bird/links")
NOT_OURS = ("/etc/vcubev/before/",)  # of a machine that the user has brought
# Of such a machine, too (prepare.sh).
OF_BROUGHT = "/etc/systemd/system/nftables.service.d/vcubev.conf"
UNITS = "/etc/systemd/system"
DROP_INS = (
    UNITS,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    f"{UNITS}.control",
    "/run/systemd/system.control",
)
WRONG_FILE_STATES = ("disabled", "masked", "masked-runtime", "enabled-runtime", "bad")
SECRETS = (b"PRIVATE KEY", b"OpenVPN Static key", b"OpenVPN tls-crypt")
LARGEST_SHOWN = 100_000  # bytes
OTHERS_READ = 0o004


def shown(path, may_be):
    """Return a file's content as base64, or None where it may be secret, or is no text."""
    file = pathlib.Path(path)
    if not may_be or file.is_symlink() or not file.is_file() or not file.stat().st_mode & OTHERS_READ:
        return None
    content = file.read_bytes()
    if len(content) > LARGEST_SHOWN or any(mark in content for mark in SECRETS):
        return None
    return base64.b64encode(content).decode()


def finding(kind, what, faults, **more):
    return {"kind": kind, "what": what, "faults": faults, **more}


def files(expected):
    for path, spec in sorted(expected["files"].items()):
        faults = faults_of(path, spec["sha256"], spec["mode"])
        if faults:
            content = shown(path, spec["shown"]) if "changed" in faults else None
            yield finding("file", path, faults, content=content)


def records(expected):
    """Look at what the installer keeps of each bundle."""
    for name, bundle in sorted(expected["bundles"].items()):
        record = BUNDLES / f"{name}.json"
        try:
            known = json.loads(record.read_text())
            same = sorted(known["files"]) == bundle["paths"] and known["units"] == bundle["units"]
            faults = [] if same else ["lists other files or units"]
        except FileNotFoundError:
            faults = ["missing"]
        except (ValueError, KeyError, TypeError):
            faults = ["unreadable"]
        if (BUNDLES / f"{name}.unfinished").exists():
            faults.append("an installation was broken off")
        if faults:
            yield finding("record", str(record), faults, bundle=name)


def template(unit):
    name, at, rest = unit.partition("@")
    return f"{name}@.{rest.rpartition('.')[2]}" if at else unit


def concerns(unit, known):
    """Tell whether a drop-in for this name reaches one of the units: by name, template or dashes (systemd.unit(5))."""
    prefix = unit.rpartition(".")[0]
    if prefix.endswith("-"):
        return any(name.startswith(prefix) for name in known)
    return unit in known or template(unit) in known or unit in {template(name) for name in known}


def foreign_files(expected):
    for directory in OWNED:
        for file in sorted(pathlib.Path(directory).rglob("*")):
            path = str(file)
            if path in expected["files"] or (file.is_dir() and not file.is_symlink()) or path.startswith(NOT_OURS):
                continue
            if "__pycache__" not in file.parts:
                yield finding("foreign file", path, ["not of this stack"], content=shown(path, True))


def foreign_drop_ins(expected, known):
    for place in DROP_INS:
        for file in sorted(pathlib.Path(place).glob("*.d/*.conf")):
            path, unit = str(file), file.parent.name.removesuffix(".d")
            ours = path in expected["files"] or (path == OF_BROUGHT and BROUGHT.exists())
            if not ours and concerns(unit, known):
                yield finding("foreign drop-in", path, ["not of this stack"], unit=unit, content=shown(path, True))


def unit_states(units):
    """Return what systemd says of units, in their order."""
    asked = "LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,FragmentPath"
    told = subprocess.run(["systemctl", "show", "-p", asked, "--", *units], capture_output=True, text=True).stdout
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in told.split("\n\n")]


def units(expected):
    if not expected["units"]:
        return
    for unit, state in zip(expected["units"], unit_states(expected["units"]), strict=False):
        faults = []
        active = state.get("ActiveState")
        if active in ("inactive", "deactivating"):
            faults.append("stopped")
        elif active == "failed":
            faults.append("failed")
        elif state.get("SubState") == "auto-restart":
            faults.append("ends again and again")
        if state.get("LoadState") == "not-found":
            faults.append("not there")
        elif state.get("LoadState") == "masked" or state.get("UnitFileState") in WRONG_FILE_STATES:
            faults.append(state["UnitFileState"] or "masked")
        if state.get("NeedDaemonReload") == "yes":
            faults.append("systemd runs it by an older file")
        if faults:
            yield finding("unit", unit, faults)
        fragment = state.get("FragmentPath", "")
        own = f"{UNITS}/{template(unit)}"
        right = fragment == own if own in expected["files"] else fragment.startswith(("/lib/", "/usr/lib/"))
        if fragment and not right and state.get("LoadState") != "masked" and fragment not in expected["files"]:
            yield finding("foreign unit", fragment, ["not of this stack"], unit=unit, content=shown(fragment, True))


def packet_filter(expected):
    """Compare the kernel's rules with those that the bundles' files make."""
    if FILTER not in expected["filter"]:
        return
    with tempfile.TemporaryDirectory(dir="/run") as directory:  # the disk may be full
        for path, content in expected["filter"].items():
            file = pathlib.Path(directory + path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content.replace(f'"{SERVICES}/', f'"{directory}{SERVICES}/'))
        pathlib.Path(directory + SERVICES).mkdir(parents=True, exist_ok=True)
        wanted = filter_of(directory + FILTER)
    found = filter_in_kernel()
    if wanted is None:
        yield finding("packet filter", "inet vcubev", ["could not be compared"])
    elif wanted != found:
        fault = "differs in the kernel" if found else "is not in the kernel"
        both = {
            name: base64.b64encode(text.encode()).decode() for name, text in (("wanted", wanted), ("content", found))
        }
        yield finding("packet filter", "inet vcubev", [fault], **both)


def compare(expected):
    known = {*expected["units"], *(path.rpartition("/")[2] for path in expected["files"] if path.startswith(UNITS))}
    yield from files(expected)
    yield from records(expected)
    yield from units(expected)
    yield from foreign_files(expected)
    yield from foreign_drop_ins(expected, known)
    yield from packet_filter(expected)
    for package in missing_packages(expected["packages"]):
        yield finding("package", package, ["not installed"])
    for name, wanted, found in settings_off(expected["settings"]):
        yield finding("kernel setting", name, [f"{found} instead of {wanted}"])


def main(expected):
    print(json.dumps(list(compare(expected))))
