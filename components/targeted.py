"""Runs of the engine for some hosts only (`pulumi up --target`), in which the program declares no other host.

A host takes the program some 30 ms to declare, and the engine and its plugins twice that to compare, so one host more
at a thousand is the work of a thousand. The engine leaves alone what is no target, declared or not: hosts that are
neither need not be declared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from components.model.topology import HostView

ENGINE = "pulumi"
COMMANDS = {"up", "preview"}
# What else makes a target, or takes one away; a short option may stand among others: -yt.
OTHERS = re.compile(r"--(target|exclude|replace)(?!=)|--(exclude|replace)|-[a-zA-Z]*t")
OTHER_SETTINGS = ("PULUMI_OPTION_TARGET", "PULUMI_OPTION_EXCLUDE", "PULUMI_OPTION_REPLACE")


def targets_of(stack: str, hosts: Iterable[HostView]) -> list[str]:
    """Return the options that make hosts, with all that they are made of, the engine's targets: two for each.

    The second also fits hosts whose names begin with this one's and a hyphen.
    """
    return [
        f"--target=**$vcubev:index:{'Unmanaged' if host.unmanaged else 'Host'}{below}**::{stack}-{host.name}{more}"
        for host in hosts
        for below, more in (("", ""), ("$", "-*"))
    ]


def only(
    arguments: Sequence[str], settings: Mapping[str, str], stack: str, hosts: Collection[HostView]
) -> frozenset[str] | None:
    """Return the hosts that a run is about, and those that their targets fit as well; None: all.

    What is a target and not declared is deleted, so that in any doubt it is all of them.

    Args:
        arguments: The engine's command line.
        settings: Its environment, which may hold options too.
        hosts: All of the stack file.
    """
    options = arguments[2:]
    if len(arguments) < 2 or arguments[1] not in COMMANDS or any(map(OTHERS.match, options)):
        return None
    if any(name.startswith(OTHER_SETTINGS) for name in settings):
        return None
    targets = {option for option in options if option.startswith("--target=")}
    wanted = [host for host in hosts if targets.intersection(targets_of(stack, [host]))]
    if not wanted or targets != set(targets_of(stack, wanted)):
        return None
    begin = tuple(f"{host.name}-" for host in wanted)
    return frozenset({host.name for host in wanted} | {host.name for host in hosts if host.name.startswith(begin)})


def hosts_of_this_run(stack: str, hosts: Collection[HostView]) -> frozenset[str] | None:
    """See `only`; asks the engine that runs this program."""
    return only(engine_arguments(), os.environ, stack, hosts)


def engine_arguments() -> list[str]:
    """Return the command line of the engine that runs this program; [] where it cannot be seen."""
    pid = os.getppid()
    try:
        while pid > 1:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if words and Path(words[0]).name == ENGINE:
                return words
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        pass
    return []
