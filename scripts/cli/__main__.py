"""What the commands in scripts/ do, once everything that they need is set up."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from typing import Annotated

import typer

from components.clouds import known_clouds
from components.model.errors import StackErrors
from engine.background import let_engine_end_its_own
from lab.cli import app as lab_console
from lab.system import LabError
from scripts.cli import (
    access_commands,
    backup_commands,
    cloud_commands,
    dashboard_command,
    doctor_command,
    drift_command,
    edit_commands,
    init_command,
    join_command,
    lab,
    status_command,
    targets_command,
    topology_command,
    up_command,
)
from scripts.cli.cost import as_json, difference, planned, running, show_cost, show_difference, unknown
from scripts.cli.credentials import NotSignedIn
from scripts.cli.drain import HubUnreachable
from scripts.cli.drain import drain as drained
from scripts.cli.edit.document import CannotEdit
from scripts.cli.engine_home import without_log
from scripts.cli.examples import show_examples
from scripts.cli.exposure import exposure
from scripts.cli.inventory import Inventory
from scripts.cli.policy_commands import policies
from scripts.cli.prices import PriceTableError, load_tables
from scripts.cli.rotate_commands import rotations
from scripts.cli.stack import EngineFailed, Stack
from scripts.cli.terminal import (
    BAD_INPUT,
    FAILED,
    NOT_WELL,
    Json,
    OfStack,
    StackName,
    Yes,
    checked,
    console,
    errors,
    tell,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="One flat, encrypted virtual network over machines at several clouds.",
)
# Nothing is fetched behind the user's back.
ENGINE_SETTINGS = {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}


@app.callback()
def begin() -> None:
    console.quiet = False


app.command()(up_command.up)


@app.command()
def down(name: StackName = "lab", yes: Yes = False, as_data: Json = False) -> None:
    """Take a stack away, whole, and prove for a lab stack that nothing is left.

    Exit codes: 0 nothing is left; 1 the engine failed, or something of the lab is left; 2 mistakes in the stack file.
    """
    stack = checked(name)
    console.quiet = as_data
    if as_data and not (yes or stack.is_lab()):
        errors.print("With --json there is nobody to ask: add --yes.")
        raise typer.Exit(BAD_INPUT)
    was_up = stack.exists()
    if was_up:
        stack.prepare()
        _destroy(stack, yes or stack.is_lab(), as_data)
        stack.forget()
    else:
        console.print(f"Stack {name} is not up.")
    has_lab = any(site.cloud == "lab" for site in stack.topology().sites)
    left = not lab.nothing_left(console, name) if has_lab else None
    if as_data:
        tell({"stack": name, "was_up": was_up, "left_in_the_lab": left})
    if left:
        raise typer.Exit(FAILED)
    if not stack.is_lab():
        console.print(f"scripts/leftovers {name} asks the clouds whether anything is left.")


@app.command()
def cost(
    name: StackName = "lab",
    diff: Annotated[bool, typer.Option("--diff", help="Against what runs.")] = False,
    as_data: Json = False,
) -> None:
    """Show what a stack costs a month by the price tables in prices/, and with --diff what a change would cost.

    Exit codes: 0 all has a price; 1 the state cannot be read; 2 mistakes in the stack file; 3 something has no price.
    """
    stack, tables = checked(name), load_tables()
    plan = planned(stack.topology(), known_clouds(), tables)
    changes = difference(running(stack.exported(), tables), plan) if diff else None
    if as_data:
        print(json.dumps(as_json(name, plan, changes, tables), indent=2))
    elif changes is not None:
        show_difference(console, changes, tables)
    elif plan:
        show_cost(console, plan, tables, f"Stack {name}, USD a month")
    else:
        console.print(f"Stack {name} has only machines of the lab or of your own: no cloud charges for it.")
    if unknown([*plan, *(changes or ())]):
        raise typer.Exit(NOT_WELL)


@app.command()
def drain(
    hub: Annotated[str, typer.Argument(help="SITE/HUB, for example oregon/a.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let hosts come back, in their own time.")] = False,
    name: OfStack = "lab",
    as_data: Json = False,
) -> None:
    """Move all hosts off a hub with no packet lost; it stays so, past a restart too, until --undo.

    Exit codes: 0 done; 1 the hub cannot be reached; 2 no such hub; 3 hosts stayed, having no other hub.
    """
    stack = checked(name)
    inventory = Inventory.of(stack.outputs()) if stack.exists() else None
    if inventory is None or hub not in inventory.hubs:
        known = f"Hubs: {', '.join(sorted(inventory.hubs))}." if inventory else f"Stack {name} is not up."
        errors.print(f"There is no hub {hub}. {known}")
        raise typer.Exit(BAD_INPUT)
    console.quiet = as_data
    done = asyncio.run(drained(inventory, hub, undo, lambda line: console.print(line, highlight=False)))
    if as_data:
        tell({"hub": hub, "draining": not undo, "done": done})
    if not done:
        errors.print("The hub is not fit yet." if undo else "Hosts stayed: they reach no other hub that is fit.")
        raise typer.Exit(NOT_WELL)
    console.print(f"{hub} is fit: hosts come back in their own time." if undo else f"{hub} is drained.")


@app.command()
def env(name: StackName = "lab", as_data: Json = False) -> None:
    """Print what plain `pulumi` needs in a shell: the program's own tools on PATH, and where the stack's state is."""
    settings = {**ENGINE_SETTINGS, **without_log(), **checked(name).settings()}
    tools = os.environ.get("VCUBEV_PATH", "")
    if as_data:
        tell({"path": tools.split(":"), **settings})
        return
    print(f'export PATH={shlex.quote(tools)}:"$PATH"')
    print("export " + " ".join(f"{key}={shlex.quote(value)}" for key, value in settings.items()))


app.add_typer(policies, name="policy")
app.command()(exposure)
app.add_typer(rotations, name="rotate")
app.command("place")(cloud_commands.place_site)
app.command()(cloud_commands.leftovers)
app.command()(status_command.status)
app.command()(doctor_command.doctor)
app.command()(drift_command.drift)
app.command()(backup_commands.backup)
app.command()(backup_commands.restore)
app.command()(topology_command.topology)
app.command()(targets_command.targets)
app.command()(dashboard_command.dashboard)
app.command()(access_commands.ssh)
app.command("ssh-config")(access_commands.ssh_config)
app.command()(access_commands.inventory)
app.command("join-bundle")(join_command.join_bundle)
app.command()(init_command.init)
app.add_typer(edit_commands.add, name="add")
app.add_typer(edit_commands.remove, name="remove")
app.command()(edit_commands.move)
app.add_typer(edit_commands.rename, name="rename")
app.add_typer(lab_console, name="lab")
show_examples(app)


def _destroy(stack: Stack, unasked: bool, quiet: bool) -> None:
    if not unasked and not stack.shows_progress():
        stack.engine("destroy", "-s", stack.name, "--suppress-outputs")  # which asks by itself
        return
    if not unasked:
        stack.engine("destroy", "-s", stack.name, "--preview-only")
        typer.confirm("Take all of this away?", abort=True)
    stack.down(quiet)


def main() -> int:
    """Run a command; its failures as one clear text."""
    let_engine_end_its_own()
    try:
        app(prog_name="vcubev")
    except (StackErrors, CannotEdit) as mistakes:
        errors.print(str(mistakes), highlight=False, markup=False, soft_wrap=True)
        return BAD_INPUT
    except (EngineFailed, HubUnreachable, LabError, NotSignedIn, PriceTableError) as failure:
        errors.print(str(failure), highlight=False, markup=False, soft_wrap=True)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
