"""The way from a wish to a written file: checked as `up` checks it, shown as a diff, and only then written."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from components.clouds import known_clouds
from components.model.stackfile import load_text
from components.model.topology import Topology
from components.targeted import targets_of
from scripts.cli import policy
from scripts.cli.edit.editor import Editor
from scripts.cli.edit.ids import State
from scripts.cli.stack import EngineFailed, Stack, why_not_alone
from scripts.cli.terminal import BAD_INPUT, checked, console, errors, tell

OPERATIONS = {"create": "make", "update": "change", "replace": "MAKE ANEW", "delete": "DELETE", "import": "take over"}


@dataclass(frozen=True)
class How:
    """What becomes of a change."""

    preview: bool = False
    dry_run: bool = False
    yes: bool = False
    as_data: bool = False


def state_of(stack: Stack) -> State:
    """Return what the engine knows of a stack, as far as it can be asked."""
    try:
        if not stack.exists():
            return State()
        return State(True, stack.outputs())
    except FileNotFoundError:
        # No engine was ever here (scripts/setup.sh, needs_engine), so nothing was made from here.
        return State()
    except EngineFailed as problem:
        return State(True, None, str(problem).strip().splitlines()[-1])


def change(name: str, edit: Callable[[Editor], None], how: How) -> None:
    """Change a stack file, or say why not; ends with exit code 2 where the result would have mistakes.

    Raises:
        StackErrors: What is wrong with it, as it is or as it would be. Nothing was written.
        CannotEdit: See there.
    """
    stack = checked(name)
    console.quiet = how.as_data
    if how.preview:
        if how.as_data:
            errors.print("--preview is for people: leave --json out.")
            raise typer.Exit(BAD_INPUT)
        stack.prepare()
    state = state_of(stack)
    if state.problem:
        told = "The stack's state cannot be read, so ids of hosts that were taken out by hand since are unknown"
        errors.print(f"[yellow]{told}[/]: {state.problem}", highlight=False)
    before = stack.file.read_text()
    old = stack.topology()
    editor = Editor(before, state)
    edit(editor)
    after = editor.document.text
    new = load_text(after, stack.file.name, known_clouds())
    for line in diff(before, after, f"stacks/{stack.file.name}"):
        console.print(line, style=_style(line), highlight=False, markup=False, soft_wrap=True)
    notes = [*editor.notes, *_broken(new)]
    for note in notes:
        console.print(note, highlight=False, markup=False)
    if how.preview:
        added = [host for host in new.hosts if host.name == editor.added_host]
        alone = state.outputs is not None and not why_not_alone(new, [editor.added_host], state.outputs)
        targets = targets_of(name, added) if alone else []
        with _draft(after) as draft:
            answer = stack.answer("preview", "-s", name, "--json", "--config-file", str(draft), *targets)
        if targets:
            console.print(f"By vcubev up {name} --only {editor.added_host}:", highlight=False)
        for line in previewed(json.loads(answer)):
            console.print(line, highlight=False, markup=False)
        if not how.yes and not how.dry_run:
            typer.confirm(f"Write stacks/{stack.file.name}?", abort=True)
    if not how.dry_run:
        write(stack.file, after)
    if how.as_data:
        tell(
            {
                "stack": name,
                "written": not how.dry_run,
                "ids": editor.given,
                "addresses": _addresses(new, {*_members(new)} - {*_members(old)}),
                "diff": "\n".join(diff(before, after, f"stacks/{stack.file.name}")),
                "notes": notes,
            }
        )
    elif how.dry_run:
        console.print("Nothing was written (--dry-run).")
    else:
        console.print(f"Written. Nothing happens to machines before: vcubev up {name}", highlight=False)


def diff(before: str, after: str, name: str) -> list[str]:
    """Return what changes, as `diff -u` shows it."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} now", f"{name} then", lineterm="", n=2
    )
    return list(lines)


def previewed(answer: Mapping[str, Any]) -> list[str]:
    """Return what the engine would do, in words: each thing that is made, changed, made anew or deleted.

    Args:
        answer: What `pulumi preview --json` prints.
    """
    seen = {}
    for step in answer.get("steps", ()):
        # A replacement has three steps, of which one names it.
        if (word := OPERATIONS.get(step["op"])) and "::pulumi:pulumi:" not in step["urn"]:
            kind, _, name = step["urn"].split("::", 2)[2].rpartition("::")
            seen[word, kind.rpartition("$")[2], name] = None
    lines = [f"{word:<11} {kind} {name}" for word, kind, name in sorted(seen)]
    return [*lines, f"The engine would do {len(lines)} things." if lines else "The engine would change nothing."]


def write(file: Path, text: str) -> None:
    """Write a stack file whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as draft:
        draft.write(text)
    if file.exists():
        shutil.copymode(file, draft.name)
    else:
        os.chmod(draft.name, 0o666 & ~_umask())
    os.replace(draft.name, file)


@contextmanager
def _draft(text: str) -> Iterator[Path]:
    """Put a text where the engine can read it as a stack's configuration."""
    with tempfile.TemporaryDirectory(prefix="vcubev-") as directory:
        draft = Path(directory) / "Pulumi.draft.yaml"
        draft.write_text(text)
        yield draft


def _broken(topology: Topology) -> list[str]:
    """Return which of the file's own assertions about its policy would not hold: `up` would refuse them."""
    return [
        f"vcubev:{result.place} does not hold any more, so up would refuse: {result.told}: {result.verdict.reason}"
        for result in policy.check(topology)
        if not result.kept
    ]


def _members(topology: Topology) -> dict[str, Any]:
    return {host.name: host.address for host in topology.hosts} | {hub.key: hub.address for hub in topology.hubs}


def _addresses(topology: Topology, names: set[str]) -> dict[str, dict[str, str]]:
    known = _members(topology)
    return {name: {"ipv4": str(known[name].ipv4), "ipv6": str(known[name].ipv6)} for name in sorted(names)}


def _style(line: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "") if not line.startswith(("+++", "---")) else "bold"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
