"""What all commands share towards the user: screen, exit codes, and a stack that is right before anything is done."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scripts.cli.stack import Stack, stack_names

BAD_INPUT, FAILED, NOT_WELL = 2, 1, 3

# Into a file or a pipe, tables keep their width.
console = Console(width=None if sys.stdout.isatty() else 110)
errors = Console(stderr=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a lab stack never does.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
StackName = Annotated[
    str,
    typer.Argument(
        envvar="VCUBEV_STACK", help="The NAME of stacks/Pulumi.NAME.yaml.", autocompletion=lambda: stack_names()
    ),
]
OfStack = Annotated[
    str,
    typer.Option(
        "--stack", "-s", envvar="VCUBEV_STACK", help="The stack that is meant.", autocompletion=lambda: stack_names()
    ),
]


def from_here(path: Path) -> Path:
    """Return a file that the user named, seen from where the user is: scripts/setup.sh has gone elsewhere since."""
    return Path(os.environ.get("VCUBEV_DIRECTORY", ""), path.expanduser())


def tell(data: Any) -> None:
    """Print data for programs, on standard output and nothing else there."""
    print(json.dumps(data, indent=2))


def checked(name: str) -> Stack:
    """Return a stack whose file holds no mistake, or end."""
    if name not in stack_names():
        errors.print(f"There is no stacks/Pulumi.{name}.yaml. Stacks: {', '.join(stack_names())}.")
        raise typer.Exit(BAD_INPUT)
    stack = Stack(name)
    stack.topology()
    return stack
