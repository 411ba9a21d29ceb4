"""A stack as the engine sees it: where its state lies, and the engine's own commands on it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from components.clouds import known_clouds
from components.model.stackfile import load_file
from components.model.topology import Topology
from components.targeted import targets_of
from scripts.cli.engine_home import credentials_file, without_log
from scripts.cli.progress.following import NotDone, can_show, follow
from scripts.cli.progress.interrupting import engine_ends_first
from scripts.cli.progress.plan import Plan

ROOT = Path(__file__).parents[2]
STACKS = ROOT / "stacks"
LAB = "lab"
PASSPHRASE_BYTES = 32
# The engine's file back end writes a file of attributes beside each of its own, in place: killed at that moment, it
# finds half of one, and says "EOF" to every command from then on.
NO_SIDECARS = "metadata=skip"


def state_directory() -> Path:
    """Where lab stacks keep what must outlive the work tree: state and passphrase."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "vcubev"


def stack_names() -> list[str]:
    """Return the stacks that have a file."""
    return sorted(path.stem.removeprefix("Pulumi.") for path in STACKS.glob("Pulumi.*.yaml"))


class EngineFailed(Exception):
    """The engine said no, and has told the user why."""


@dataclass(frozen=True)
class Stack:
    """One stack file and the state that belongs to it."""

    name: str

    @property
    def file(self) -> Path:
        return STACKS / f"Pulumi.{self.name}.yaml"

    def topology(self) -> Topology:
        """Check the stack file.

        Raises:
            StackErrors: All of its mistakes.
        """
        return load_file(self.file, known_clouds())

    def is_lab(self) -> bool:
        """Tell whether all of it is on this computer, so that nothing of it is worth the user's own back end."""
        return all(site.cloud == LAB for site in self.topology().sites)

    def settings(self) -> dict[str, str]:
        """Return the environment in which the engine finds this stack's state.

        A user who is logged in to a back end keeps it; else a lab stack has one on this computer.
        """
        if not self.is_lab():
            return {}
        settings = {}
        if not logged_in():
            settings["PULUMI_BACKEND_URL"] = f"{_own_back_end()}?{NO_SIDECARS}"
        if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & set(os.environ):
            settings["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(state_directory() / "passphrase")
        return settings

    def passphrase(self) -> str | None:
        """Return what opens the secrets of this stack's state; None where the engine would have to ask."""
        environment = self._environment()
        if (given := environment.get("PULUMI_CONFIG_PASSPHRASE")) is not None:
            return given
        try:
            return Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text().strip()
        except (KeyError, OSError):
            return None

    def prepare(self) -> None:
        """Make what `settings` names, if it is not there, and select the stack."""
        settings = self.settings()
        if "PULUMI_BACKEND_URL" in settings:
            (state_directory() / "backend").mkdir(mode=0o700, parents=True, exist_ok=True)
        if "PULUMI_CONFIG_PASSPHRASE_FILE" in settings:
            passphrase = Path(settings["PULUMI_CONFIG_PASSPHRASE_FILE"])
            if not passphrase.exists():
                self._drop_salt()  # of another computer, or of a state that was lost: no new passphrase fits it
            _write_once(passphrase, secrets.token_urlsafe(PASSPHRASE_BYTES))
        self.engine("stack", "select", "--create", self.name, quiet=True)
        self._unlock()

    def exists(self) -> bool:
        """Tell whether the back end knows the stack."""
        if "PULUMI_BACKEND_URL" in self.settings() and not (state_directory() / "backend").is_dir():
            return False
        known = json.loads(self.answer("stack", "ls", "--json") or "[]")
        return self.name in {stack["name"].rpartition("/")[2] for stack in known}

    def engine(self, *command: str, quiet: bool = False) -> None:
        """Run an engine command on the user's terminal.

        Raises:
            EngineFailed: It ended with an error, which the user has seen.
        """
        output = subprocess.PIPE if quiet else None
        with engine_ends_first():
            done = subprocess.run(
                self._command(command), cwd=ROOT, env=self._environment(), stdout=output, stderr=output, text=True
            )
        if done.returncode:
            raise EngineFailed(f"{done.stdout}{done.stderr}".strip() if quiet else f"pulumi {command[0]} failed")

    def targets(self, hosts: Collection[str]) -> list[str]:
        """Return the options that leave all but some hosts alone; none where no host is named."""
        if not hosts:
            return []
        return targets_of(self.name, [host for host in self.topology().hosts if host.name in hosts])

    def up(self, quiet: bool = False, only: Collection[str] = ()) -> None:
        """Let the engine make all of it or some hosts, unasked; what the outputs say is told by others.

        Raises:
            EngineFailed: See `engine`.
        """
        self._do("up", quiet, only)

    def down(self, quiet: bool = False) -> None:
        """Let the engine take all of it away, unasked.

        Raises:
            EngineFailed: See `engine`.
        """
        self._do("destroy", quiet)

    def shows_progress(self) -> bool:
        """Tell whether the user sees machine by machine how far the engine is: on a terminal.

        Not where the engine would have to ask for a passphrase in between.
        """
        if not can_show(Console()):
            return False
        return self.passphrase() is not None or "encryptionsalt:" not in self.file.read_text()

    def _do(self, command: str, quiet: bool, only: Collection[str] = ()) -> None:
        options = ("--suppress-outputs", "--yes", "--skip-preview", *self.targets(only))
        whole = (command, "-s", self.name, *options)
        if quiet or not self.shows_progress():
            self.engine(*whole, quiet=quiet)
            return
        plan = Plan.of(self.name, self.topology(), only)
        try:
            follow(self._command(whole), ROOT, self._environment(), plan, Console())
        except NotDone:
            raise EngineFailed(f"pulumi {command} failed") from None

    def answer(self, *command: str) -> str:
        """Return what an engine command prints, in memory only: it may hold secrets.

        Raises:
            EngineFailed: It ended with an error.
        """
        done = subprocess.run(self._command(command), cwd=ROOT, env=self._environment(), capture_output=True, text=True)
        if done.returncode:
            raise EngineFailed(done.stderr.strip())
        return done.stdout

    def replace_state(self, state: Mapping[str, Any]) -> None:
        """Put another state in the place of the stack's, as `stack export` writes it; no file of it lies about.

        Raises:
            EngineFailed: The back end did not take it, or somebody else is at work on the stack.
        """
        command, given = self._command(("stack", "import", "-s", self.name)), json.dumps(state)
        done = subprocess.run(command, cwd=ROOT, env=self._environment(), input=given, capture_output=True, text=True)
        if done.returncode:
            raise EngineFailed(f"{done.stdout}{done.stderr}".strip())

    def exported(self) -> dict[str, Any]:
        """Return the engine's state, its secrets still encrypted; {} if the stack was never made."""
        return json.loads(self.answer("stack", "export", "-s", self.name)) if self.exists() else {}

    def outputs(self) -> Mapping[str, Any]:
        """Return the stack's outputs, secrets in the clear."""
        return json.loads(self.answer("stack", "output", "--json", "--show-secrets", "-s", self.name))

    def last_changes(self) -> dict[str, int]:
        """Return what the last update did: "create" -> how many resources; without those that stayed the same."""
        history = json.loads(self.answer("stack", "history", "--json", "--page-size", "1", "-s", self.name) or "[]")
        changes = history[0].get("resourceChanges", {}) if history else {}
        return {change: count for change, count in changes.items() if change != "same" and count}

    def forget(self) -> None:
        """Remove a destroyed stack from its back end, and a lab's state when its last stack has gone."""
        self.engine("stack", "rm", "--yes", "--preserve-config", self.name, quiet=True)
        self._drop_salt()
        if "PULUMI_BACKEND_URL" in self.settings() and not json.loads(self.answer("stack", "ls", "--all", "--json")):
            shutil.rmtree(state_directory())

    def _drop_salt(self) -> None:
        """Take away the engine's own line in the stack file, worthless without the state that it belonged to.

        Not where the file has secrets of the user's: nobody could read them without it.
        """
        text = self.file.read_text()
        if re.search(r"^[ \t]+secure:", text, flags=re.MULTILINE):
            return
        self.file.write_text(re.sub(r"^encryptionsalt:.*\n(?:[ \t]+.*\n)*", "", text, flags=re.MULTILINE))

    def _command(self, command: Sequence[str]) -> list[str]:
        return ["pulumi", *command]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **without_log(), **self.settings()}

    def _unlock(self) -> None:
        """Take away the lock of an engine that was killed on this computer."""
        if "PULUMI_BACKEND_URL" not in self.settings():
            return
        locks = (state_directory() / "backend" / ".pulumi" / "locks").rglob(f"{self.name}/*.json")
        owners = [json.loads(lock.read_text()) for lock in locks]
        if owners and all(o.get("hostname") == socket.gethostname() and not _alive(o["pid"]) for o in owners):
            self.engine("cancel", "--yes", "-s", self.name, quiet=True)


def why_not_alone(topology: Topology, hosts: Collection[str], outputs: Mapping[str, Any]) -> str:
    """Return why some hosts cannot be made with all else left alone; "" where they can.

    Args:
        outputs: The stack's.
    """
    sites = {host.hub_site for host in topology.hosts if host.name in hosts}
    if lacking := [hub.key for hub in topology.hubs if hub.site in sites and hub.key not in outputs.get("hubs", ())]:
        return f"they need hubs that are not up: {', '.join(lacking)}"
    there, begin = {*outputs.get("hosts", ()), *outputs.get("unmanaged", ())}, tuple(f"{name}-" for name in hosts)
    names = {host.name for host in topology.hosts if not {host.name, *host.formerly} & there}
    if new := sorted(name for name in names - {*hosts} if name.startswith(begin)):
        return f"by its name the engine cannot tell what is new of {', '.join(new)} from theirs: name it, too"
    return ""


def logged_in() -> bool:
    """Tell whether the user has a back end of their own."""
    try:
        current = json.loads(credentials_file().read_text()).get("current")
    except (OSError, ValueError):
        current = None
    ours = _own_back_end()
    return os.environ.get("PULUMI_BACKEND_URL", current or ours).partition("?")[0] != ours


def _own_back_end() -> str:
    return f"file://{state_directory() / 'backend'}"


def _write_once(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _alive(pid: int) -> bool:
    """Tell whether an engine of this number runs: not a stranger that has the number now, nor one that only awaits
    its parent's notice (state Z)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return fields["Name"].startswith("pulumi") and not fields["State"].startswith("Z")
