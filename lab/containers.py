"""One machine as a container: its disk over the shared image, its processes in a cgroup of its own.

The cgroup is the machine's identity towards this computer. It holds all its processes and no other, is gone after a
reboot, and kills them as one; a process id could by then be a stranger's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from lab.records import Machine, Stack
from lab.system import LabError, cgroup_root

BOOT = Path(__file__).parent / "boot-machine"
SEED = Path("var/lib/cloud/seed/nocloud")
GROUP = "vcubev-lab"
# systemd in the hybrid layout keeps its groups here as well; shared, machines would stop each other's services.
SYSTEMD_V1 = Path("/sys/fs/cgroup/systemd")
# Where systemd-nspawn leaves a directory for each machine it ran.
PROPAGATE = Path("/run/systemd/nspawn/propagate")
BOOT_SECONDS = 15
# A machine's systemd stops within a second or two, a hub's after its hosts have left; a cloud does not wait for ever.
GRACE_SECONDS = 120
KILL_SECONDS = 10
SUPERVISOR_SECONDS = 5  # for systemd-nspawn, after its machine


def cgroups(namespace: str) -> list[Path]:
    """Return a machine's groups, the one that can be killed first."""
    groups = [(cgroup_root() or Path("/sys/fs/cgroup")) / GROUP / namespace]
    return [*groups, *([SYSTEMD_V1 / GROUP / namespace] if SYSTEMD_V1.is_dir() else [])]


def make_disk(stack: Stack, machine: Machine, hostname: str, user_data: str) -> None:
    """Lay out an empty disk with a NoCloud seed, after removing what an earlier attempt left."""
    directory = stack.machine_directory(machine)
    if directory.exists():
        shutil.rmtree(directory)
    for part in ("root", "work", "upper"):
        (directory / part).mkdir(parents=True)
    # The image's own modes: the upper directory's are what the machine sees.
    for part in ("", *map(str, reversed(SEED.parents))):
        (directory / "upper" / part).mkdir(exist_ok=True)
        (directory / "upper" / part).chmod(0o755)
    seed = directory / "upper" / SEED
    seed.mkdir(mode=0o700)
    write_private(seed / "meta-data", json.dumps({"instance-id": machine.id, "local-hostname": hostname}))
    write_private(seed / "user-data", user_data)
    # Here before the seed is read: what starts earlier than cloud-init should know its name as well.
    (directory / "upper/etc").mkdir(mode=0o755)
    (directory / "upper/etc/hostname").write_text(f"{hostname}\n")


def write_private(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(content)


def hostname_of(name: str) -> str:
    """Return an engine's resource name as a host name: letters, digits, hyphens, at most 63."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:63].strip("-") or "machine"


def start(stack: Stack, machine: Machine, hostname: str) -> subprocess.Popen[bytes]:
    """Boot a machine; its namespace must stand. It outlives whoever starts it."""
    directory, namespace = stack.machine_directory(machine), stack.namespace(machine)
    if not machine.image_path.is_dir():
        raise LabError(f"the image that {hostname}'s disk lies on is gone: {machine.image_path}. Terminate it.")
    groups = cgroups(namespace)
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    command = [str(BOOT), str(directory), str(machine.image_path), namespace, hostname, *map(str, groups)]
    with console(stack, machine).open("ab") as log:
        # No pipe of the engine's must stay open in it, or the engine waits for the machine to end.
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
            cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        )


def await_boot(stack: Stack, machine: Machine, starter: subprocess.Popen[bytes]) -> None:
    """Return once the machine's init runs.

    Args:
        starter: What `start` returned.

    Raises:
        LabError: It does not; carries the end of its console.
    """
    deadline = time.monotonic() + BOOT_SECONDS
    while leader(stack.namespace(machine)) is None:
        if starter.poll() is not None or time.monotonic() > deadline:
            text = console(stack, machine).read_text(errors="replace")[-1500:]
            raise LabError(f"machine {stack.namespace(machine)} did not start; its console ends:\n{text}")
        time.sleep(0.05)


def console(stack: Stack, machine: Machine) -> Path:
    return stack.machine_directory(machine) / "console.log"


def processes(namespace: str) -> list[int]:
    """Return the ids of a machine's processes; none means that it does not run."""
    found: set[int] = set()
    for group in _groups_within(cgroups(namespace)[0]):
        try:
            found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
        except OSError:  # the group went meanwhile
            continue
    return sorted(found - {0})


def _groups_within(group: Path) -> list[Path]:
    """Return a group and those below it. A machine that stops takes them away meanwhile, which os.walk forgives."""
    return [Path(path) for path, _, _ in os.walk(group)]


def leader(namespace: str) -> int | None:
    """Return the id that a machine's init has on this computer."""
    for process in processes(namespace):
        try:
            status = Path(f"/proc/{process}/status").read_text()
            name = Path(f"/proc/{process}/comm").read_text().strip()
        except OSError:
            continue
        inner = re.search(r"^NSpid:\s+(?:\d+\s+)+(\d+)$", status, re.MULTILINE)
        if inner and inner[1] == "1" and name == "systemd":
            return process
    return None


def stop(namespace: str) -> None:
    """Ask a machine to shut down and wait a little; whatever is left is for `kill`."""
    supervisors = [p for p in processes(namespace) if _command(p) == "systemd-nspawn"]
    if leader(namespace) is None or not supervisors:
        return
    for process in supervisors:
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    # Not for what somebody runs there (`exec`): nsenter is stopped with its program as the machine goes, and stays so.
    while leader(namespace) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    deadline = min(deadline, time.monotonic() + SUPERVISOR_SECONDS)
    while {*supervisors} & {*processes(namespace)} and time.monotonic() < deadline:
        time.sleep(0.05)


def kill(namespace: str) -> None:
    """End all of a machine's processes at once, and remove its groups.

    Raises:
        LabError: The kernel does not let go of them.
    """
    deadline = time.monotonic() + KILL_SECONDS
    group = cgroups(namespace)[0]
    while processes(namespace):
        (group / "cgroup.kill").write_text("1")
        time.sleep(0.02)
        if time.monotonic() > deadline:
            raise LabError(f"{namespace} still has processes {processes(namespace)} {KILL_SECONDS} s after SIGKILL.")
    for group in cgroups(namespace):
        _remove_group(group, deadline)
        # The last machine's end takes the lab's own group with it.
        with suppress(OSError):
            group.parent.rmdir()
    with suppress(OSError):
        (PROPAGATE / namespace).rmdir()


def _remove_group(group: Path, deadline: float) -> None:
    if not group.is_dir():
        return
    # A group stays busy for a moment after its last process ended.
    for below in sorted(_groups_within(group), reverse=True):
        while below.is_dir():
            try:
                below.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def enter(namespace: str, command: list[str]) -> NoReturn:
    """Become a process of a machine, as root, which dies with the machine as all its others do.

    Raises:
        LabError: The machine does not run.
    """
    init = leader(namespace)
    if init is None:
        raise LabError(f"{namespace} does not run.")
    for group in cgroups(namespace):
        (group / "exec").mkdir(exist_ok=True)
        (group / "exec" / "cgroup.procs").write_text(str(os.getpid()))
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "TERM": os.environ.get("TERM", "dumb"),
    }
    os.execvpe("nsenter", ["nsenter", f"--target={init}", "--all", "--wdns=/root", "--", *command], environment)


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""
