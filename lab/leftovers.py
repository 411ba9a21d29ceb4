"""What the lab could leave on this computer, and how to be rid of it. Works without records, by the lab's names."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from lab import containers, underlay
from lab.records import Stack, locked, root, stacks_directory, tidy
from lab.system import run

NAMED = re.compile(r"vlab-([0-9a-f]{8})(?:-(?:inet|[sm]\d+))?")


@dataclass(frozen=True, order=True)
class Leftover:
    """One thing that is still there; `tag` says whose."""

    tag: str
    kind: str
    what: str


def find(stack: Stack | None = None) -> list[Leftover]:
    """Return what there is of one stack, or of all."""
    found = {*_records(), *_network(), *_groups(), *_processes(), *_mounts()}
    return sorted(item for item in found if stack is None or item.tag == stack.tag)


def sweep(stack: Stack | None = None) -> list[Leftover]:
    """Remove what there is of one stack, or of all, and return what could not be removed."""
    with locked():
        items = find(stack)
        for namespace in sorted({item.what for item in items if item.kind == "control group"}):
            containers.kill(namespace)
        for item in items:
            if item.kind == "process":
                _end(item)
        for item in items:
            if item.kind == "link":
                underlay.remove_link(item.what)
            elif item.kind == "namespace":
                underlay.remove_namespace(item.what)
            elif item.kind in ("record", "nspawn directory"):
                shutil.rmtree(item.what, ignore_errors=True)
        tidy()
    return find(stack)


def _records() -> Iterator[Leftover]:
    for directory in stacks_directory().glob("*.*"):
        stack = Stack(project=directory.name.split(".", 1)[0], name=directory.name.split(".", 1)[1])
        yield Leftover(stack.tag, "record", str(directory))


def _network() -> Iterator[Leftover]:
    for path in underlay.NAMESPACES.glob("vlab-*"):
        if match := NAMED.fullmatch(path.name):
            yield Leftover(match[1], "namespace", path.name)
    for link in json.loads(run("ip", "-json", "link", "show")):
        if match := NAMED.fullmatch(link["ifname"]):
            yield Leftover(match[1], "link", link["ifname"])
    for route in json.loads(run("ip", "-json", "-4", "route", "show")):
        if match := NAMED.fullmatch(route.get("dev", "")):
            yield Leftover(match[1], "route", f"{IPv4Network(route['dst'])} dev {route['dev']}")


def _groups() -> Iterator[Leftover]:
    for parent in (group.parent for group in containers.cgroups("any")):
        for path in parent.glob("vlab-*"):
            if match := NAMED.fullmatch(path.name):
                yield Leftover(match[1], "control group", path.name)
    for path in containers.PROPAGATE.glob("vlab-*"):
        if match := NAMED.fullmatch(path.name):
            yield Leftover(match[1], "nspawn directory", str(path))


def _processes() -> Iterator[Leftover]:
    for path in Path("/proc").glob("[0-9]*"):
        if match := _lab_process(path):
            yield Leftover(match[1], "process", path.name)


def _lab_process(path: Path) -> re.Match[str] | None:
    """Return whose machine a process starts or supervises; those within a machine are its group's."""
    try:
        words = (path / "cmdline").read_text().split("\0")
    except OSError:
        return None
    if str(containers.BOOT) not in words and not words[0].endswith("systemd-nspawn"):
        return None
    return next((m for word in words if (m := NAMED.fullmatch(word.removeprefix("--machine=")))), None)


def _mounts() -> Iterator[Leftover]:
    tags = {item.what: item.tag for item in _records()}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{root()}/"):
            owner = next((tag for directory, tag in tags.items() if point.startswith(f"{directory}/")), "")
            yield Leftover(owner, "mount", point)


def _end(item: Leftover) -> None:
    if _lab_process(Path("/proc") / item.what):
        os.kill(int(item.what), signal.SIGKILL)
