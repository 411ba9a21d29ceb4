"""`vcubev targets`: whom Prometheus asks for metrics."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from components.model.policy import METRICS_PORT
from scripts.cli.access_commands import inventory_of
from scripts.cli.inventory import Inventory
from scripts.cli.terminal import BAD_INPUT, Json, StackName, console, errors, from_here, tell


def targets(
    name: StackName = "lab",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else it is printed.")] = None,
    as_data: Json = False,
) -> None:
    """Write all members as Prometheus' file_sd takes them, labels: stack, site, role, member. No secret is in it.

    Prometheus runs on a host that vcubev:metrics names, and reads the file again by itself. monitoring/ has a
    configuration, alert rules and a board for Grafana.

    Exit codes: 0 written; 1 the stack is not up; 2 its file has no vcubev:metrics: nobody may ask.
    """
    stack, known = inventory_of(name)
    if stack.topology().policy.metrics is None:
        told = f"{stack.file.name} has no vcubev:metrics: no member serves any. Write who may ask, for example"
        errors.print(
            f"{told} vcubev:metrics: {{from: [web]}}, and run up.", markup=False, highlight=False, soft_wrap=True
        )
        raise typer.Exit(BAD_INPUT)
    found = listed(name, known)
    if output is None:
        tell(found)
        return
    _write(from_here(output), json.dumps(found, indent=1) + "\n")
    console.print(f"Written: {output}", highlight=False)


def listed(stack: str, known: Inventory) -> list[dict[str, Any]]:
    """Return file_sd's form: an entry for each member."""
    return [
        {
            "targets": [f"{member.ipv4}:{METRICS_PORT}"],
            "labels": {"stack": stack, "site": member.site, "role": member.role or "hub", "member": name},
        }
        for name, member in sorted({**known.hubs, **known.hosts}.items())
    ]


def _write(file: Path, text: str) -> None:
    """Write a file whole: Prometheus may be reading it."""
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(text)
            # Prometheus reads it as a user of its own.
            os.fchmod(out.fileno(), 0o644)
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise
