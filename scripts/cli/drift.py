"""Compares machines with what the stack's state says that they were given, and has an `up` give it to them again."""

from __future__ import annotations

import asyncio
import base64
import copy
import difflib
import fnmatch
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.cli.inventory import Inventory
from scripts.cli.probing import NoAnswer, ask
from scripts.cli.reach import Findings, Observer
from scripts.cli.state import MAIN_BUNDLES, Installation, resources

SECONDS = 40  # for one machine's answer
UNITS = "/etc/systemd/system/"
SETTINGS = "/etc/sysctl.d/60-vcubev.conf"
FILTER = ("/etc/nftables.conf", "/etc/vcubev/services/*.nft")
SECRET_MARKS = ("PRIVATE KEY", "OpenVPN Static key", "OpenVPN tls-crypt")
OTHERS_READ = 0o004
# What the state says of a command that must be run again: the program has no such variable, so the engine sees a
# difference, and shows what has drifted.
MARK = "VCUBEV_DRIFT"
LONGEST_MARK = 400  # characters
CONTROL = re.compile(r"[^\t\n\x20-\x7e\xa0-\U0010ffff]")


@dataclass(frozen=True)
class Deviation:
    """One thing on a machine that is not as it should be."""

    machine: str
    bundle: str
    urn: str  # of the resource that gives the machine this bundle
    kind: str  # file, unit, package, ...
    what: str
    faults: tuple[str, ...]
    difference: str = ""  # unified; "" where there is none to be shown
    actions: tuple[str, ...] = ()  # of what is not of the stack: what is to follow on its removal

    @property
    def foreign(self) -> bool:
        return self.kind.startswith("foreign")

    def told(self) -> str:
        return f"{self.what} {', '.join(self.faults)}"


@dataclass
class Seen:
    """What a comparison found."""

    deviations: list[Deviation] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)  # machine -> why
    compared: int = 0  # machines

    @property
    def well(self) -> bool:
        return not self.deviations and not self.unseen


def expected(bundles: Sequence[Installation]) -> dict[str, Any]:
    """Return what compare.py takes: one machine's files by their hashes, and of the packet filter its text."""
    files = {path: spec for bundle in bundles for path, spec in bundle.files.items()}
    return {
        "files": {
            path: {
                "sha256": hashlib.sha256(spec["content"].encode()).hexdigest(),
                "mode": spec["mode"],
                "shown": not secret(spec),
            }
            for path, spec in files.items()
        },
        "bundles": {one.name: {"paths": sorted(one.files), "units": list(one.units)} for one in bundles},
        "units": list(dict.fromkeys(unit for bundle in bundles for unit in bundle.units)),
        "packages": sorted({package for bundle in bundles for package in bundle.packages}),
        "settings": files.get(SETTINGS, {}).get("content", ""),
        "filter": {
            path: spec["content"]
            for path, spec in files.items()
            if any(fnmatch.fnmatch(path, pattern) for pattern in FILTER)
        },
    }


def secret(spec: Mapping[str, Any]) -> bool:
    """Tell whether a file's content is to be shown to nobody."""
    return not int(spec["mode"], 8) & OTHERS_READ or any(mark in spec["content"] for mark in SECRET_MARKS)


def judged(machine: str, bundles: Sequence[Installation], answer: Sequence[Mapping[str, Any]]) -> list[Deviation]:
    """Read what compare.py printed: say whose bundle each finding is, and what the difference is."""
    owners = {path: bundle for bundle in bundles for path in bundle.files}
    found = []
    for one in answer:
        kind, what = one["kind"], one["what"]
        unit = one.get("unit", what if kind == "unit" else "")
        owner = owners.get(what) or next((bundle for bundle in bundles if bundle.name == one.get("bundle")), None)
        if owner is None and unit:
            owner = next((bundle for bundle in bundles if _has(bundle, unit)), None)
        owner = owner or bundles[0]
        wanted = owner.files[what]["content"] if kind == "file" else ""
        difference = ""
        if one.get("content") is not None:
            wanted = _text(one["wanted"]) if "wanted" in one else wanted
            difference = difference_of(wanted, _text(one["content"]))
        actions = _after(what, unit, owner) if kind.startswith("foreign") else ()
        faults = tuple(map(printable, one["faults"]))
        where = (machine, owner.name, owner.urn)
        found.append(Deviation(*where, kind, printable(what), faults, difference, actions))
    return found


def difference_of(wanted: str, found: str) -> str:
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "should be", "is", lineterm="", n=2)
    return printable("\n".join(lines))


def printable(text: str) -> str:
    """Return text that a terminal takes for nothing but text: it comes from a machine that somebody has changed."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def _has(bundle: Installation, unit: str) -> bool:
    """Tell whether a bundle starts a unit, or brings its file."""
    names = {unit, f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}"}
    templates = {f"{own.partition('@')[0]}@.{own.rpartition('.')[2]}" for own in bundle.units if "@" in own}
    return bool(names & ({*bundle.units} | templates)) or any(f"{UNITS}{name}" in bundle.files for name in names)


def _after(path: str, unit: str, owner: Installation) -> tuple[str, ...]:
    """Return what must follow on the removal of a file that is not of the stack."""
    if unit:
        whole = f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}" if "@" in unit else unit
        files = [f"{UNITS}{name}" for name in (unit, whole)]
        files += [own for own in owner.files if own.startswith((f"{UNITS}{unit}.d/", f"{UNITS}{whole}.d/"))]
        actions = [action for file in files for action in owner.files.get(file, {}).get("on_change", ())]
        started = [f"restart {own}" for own in owner.units if own == unit]
        return tuple(dict.fromkeys(actions or started))
    if fnmatch.fnmatch(path, "/etc/bird/links/*.conf"):
        return ("reload bird.service",)
    return ()


async def look(inventory: Inventory, bundles: Sequence[Installation], only: Collection[str] | None = None) -> Seen:
    """Compare all machines at once, or some; those that cannot be reached are part of what is seen."""
    seen, findings = Seen(), Findings()
    names = [name for name in (*inventory.hubs, *inventory.hosts) if only is None or name in only]
    gateways = {member.ssh.gateway for name, member in inventory.hosts.items() if name in names} - {""}

    async def compare(machine: str) -> None:
        own = [bundle for bundle in bundles if bundle.machine == machine]
        if not own or not any(bundle.name in MAIN_BUNDLES for bundle in own):
            seen.unseen[machine] = "the state has nothing of it yet: an up that was broken off"
        if not own:
            return
        try:
            answer = await ask(observer, machine, ("actual", "compare"), expected(own), SECONDS)
        except NoAnswer as problem:
            seen.unseen[machine] = str(problem)
            return
        seen.compared += 1
        seen.deviations += judged(machine, own, answer)

    async with Observer(inventory) as observer:
        await observer.connect(findings, {*names, *gateways, *(inventory.hubs if gateways else ())})
        await asyncio.gather(*[compare(name) for name in names if name in observer.connections])
    seen.unseen |= {name: f"SSH: {why}" for name, why in findings.unreachable.items() if name in names}
    seen.deviations.sort(key=lambda one: (one.machine, one.kind, one.what))
    return seen


# Repair


def marked(state: Mapping[str, Any], deviations: Sequence[Deviation]) -> dict[str, Any]:
    """Return an exported state that says of each bundle with a deviation that it is not as it should be.

    The next `up` finds the difference, shows it in its preview and installs that bundle again, and no other.
    """
    notes: dict[str, list[str]] = {}
    for one in deviations:
        notes.setdefault(one.urn, []).append(one.told())
    changed = copy.deepcopy(dict(state))
    for resource in resources(changed):
        if told := notes.get(resource["urn"]):
            text = "; ".join(told)
            note = {MARK: text if len(text) <= LONGEST_MARK else f"{text[:LONGEST_MARK]}..."}
            for values in ("inputs", "outputs"):
                resource[values] = {**resource.get(values, {}), "environment": note}
    return changed


async def disown(inventory: Inventory, deviations: Sequence[Deviation]) -> None:
    """Have the next installations take away what is not of the stack.

    Raises:
        NoAnswer: A machine has gone meanwhile, or its records are damaged.
    """
    foreign: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    for one in deviations:
        if one.foreign:
            foreign.setdefault(one.machine, {}).setdefault(one.bundle, {})[one.what] = one.actions
    findings = Findings()
    async with Observer(inventory) as observer:
        await observer.connect(findings, {*foreign, *(inventory.hubs if foreign else ())})
        for machine, files in foreign.items():
            if machine not in observer.connections:
                raise NoAnswer(f"{machine}: {findings.unreachable[machine]}")
            await ask(observer, machine, ("disown",), files, SECONDS)


def as_json(stack: str, seen: Seen) -> dict[str, Any]:
    """Return all of it for programs."""
    drift = [
        {
            "machine": one.machine,
            "bundle": one.bundle,
            "kind": one.kind,
            "what": one.what,
            "faults": list(one.faults),
            "difference": one.difference or None,
        }
        for one in seen.deviations
    ]
    return {"stack": stack, "well": seen.well, "compared": seen.compared, "drift": drift, "unseen": seen.unseen}
