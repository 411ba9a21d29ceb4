"""What the commands in scripts/ do, once everything that they need is set up."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Annotated

import typer

from components.clouds import known_clouds
from components.model.errors import StackErrors
from lab.system import LabError
from scripts.cli import lab, place
from scripts.cli import leftovers as left
from scripts.cli.cost import as_json, difference, planned, running, show_cost, show_difference, unknown
from scripts.cli.credentials import NotSignedIn
from scripts.cli.credentials import check as check_credentials
from scripts.cli.drain import HubUnreachable
from scripts.cli.drain import drain as drained
from scripts.cli.inventory import Inventory
from scripts.cli.policy_commands import keeps_its_tests, policies
from scripts.cli.prices import PriceTableError, load_tables
from scripts.cli.reach import look
from scripts.cli.rotate_commands import rotations
from scripts.cli.show import show
from scripts.cli.stack import EngineFailed, Stack
from scripts.cli.terminal import BAD_INPUT, FAILED, NOT_WELL, checked, console, errors

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_show_locals=False)
StackName = Annotated[str, typer.Argument(help="A stack: the NAME of stacks/Pulumi.NAME.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a lab stack never does.")]


@app.command()
def up(name: StackName = "lab", yes: Yes = False) -> None:
    """Make a stack what its file says, then show its hosts and who reaches whom.

    At clouds that charge for it, first looks whether they let you in, shows what will change and the monthly price,
    and asks.

    Exit codes: 0 all is well; 1 the engine failed, or a cloud lets you not in; 2 the stack file has mistakes; 3 made,
    but something is not reached.
    """
    started = time.monotonic()
    stack = checked(name)
    keeps_its_tests(stack)
    _tell_stand_ins(stack)
    if not stack.is_lab():
        check_credentials(stack.topology(), known_clouds(), lambda line: console.print(line, highlight=False))
    lab.prepare(stack.topology())
    stack.prepare()
    if not stack.is_lab() and not yes:
        stack.engine("preview", "-s", name)
        _show_price(stack)
        typer.confirm("Make these changes?", abort=True)
        started = time.monotonic()
    # What the outputs say is in the tables below.
    stack.engine("up", "-s", name, "--suppress-outputs", "--yes", "--skip-preview")
    changes = stack.last_changes()
    told = ", ".join(f"{count} {change}" for change, count in sorted(changes.items()))
    console.print(f"[bold]{f'Changed: {told}' if told else 'Nothing changed.'}[/] ({time.monotonic() - started:.0f} s)")
    _look(stack)


@app.command()
def status(name: StackName = "lab") -> None:
    """Show a stack's hosts and who reaches whom. Changes nothing."""
    stack = checked(name)
    if not stack.exists():
        console.print(f"Stack {name} is not up.")
        raise typer.Exit(FAILED)
    _look(stack)


@app.command()
def down(name: StackName = "lab", yes: Yes = False) -> None:
    """Take a stack away, whole, and prove for a lab stack that nothing is left."""
    stack = checked(name)
    if stack.exists():
        stack.prepare()
        stack.engine("destroy", "-s", name, "--suppress-outputs", *_unasked(stack, yes))
        stack.forget()
    else:
        console.print(f"Stack {name} is not up.")
    if any(site.cloud == "lab" for site in stack.topology().sites) and not lab.nothing_left(console, name):
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
    changes = difference(running(_state(stack), tables), plan) if diff else None
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


@app.command("place")
def place_site(
    name: StackName = "lab",
    vcpus: Annotated[int, typer.Option(min=1, help="Of each machine, at least.")] = 1,
    memory_gb: Annotated[float, typer.Option("--memory-gb", min=0.5, help="Of each machine, at least.")] = 1,
    hubs: Annotated[int, typer.Option(min=1)] = 1,
    hosts: Annotated[int, typer.Option(min=0, help="Public ones.")] = 0,
    private: Annotated[int, typer.Option(min=0, help="Private hosts.")] = 0,
    cloud: Annotated[list[str] | None, typer.Option("--cloud", help="Only this one. May be repeated.")] = None,
    usd_per_ms: Annotated[
        float, typer.Option("--usd-per-ms", min=0, help="What a millisecond less to the hubs is worth a month.")
    ] = place.USD_PER_MS,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 15,
    pings: Annotated[bool, typer.Option("--measure/--no-measure", help="Ping the hubs that run.")] = True,
    as_data: Json = False,
) -> None:
    """Rank clouds and regions for a new site by price and, where sites run, by the measured round trip to the hubs.

    Exit codes: 0 there are choices; 1 the state cannot be read; 2 mistakes in the stack file; 3 nothing fits.
    """
    stack, tables = checked(name), load_tables()
    if strangers := sorted(set(cloud or ()) - set(tables)):
        errors.print(f"No prices are known for {', '.join(strangers)}. Clouds: {', '.join(tables)}.")
        raise typer.Exit(BAD_INPUT)
    chosen = {known: table for known, table in tables.items() if not cloud or known in cloud}
    wish = place.Wish(vcpus, memory_gb, hubs, hosts, private)
    round_trips = {}
    if pings and stack.exists() and (outputs := stack.outputs()):
        round_trips = asyncio.run(place.measure(Inventory.of(outputs)))
    distances = place.farthest(stack.topology(), round_trips)
    ranked = place.rank(place.offers(known_clouds(), chosen, wish), distances, usd_per_ms)[:limit]
    if as_data:
        print(json.dumps(place.as_json(ranked, round_trips), indent=2))
    elif ranked:
        place.show_places(console, ranked, round_trips, tables)
    else:
        errors.print("No size in prices/ is so large.")
    if not ranked:
        raise typer.Exit(NOT_WELL)


@app.command()
def leftovers(
    name: StackName = "lab",
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="Look in all regions of the stack's clouds, not only its sites'.")
    ] = False,
    cloud: Annotated[
        list[str] | None, typer.Option("--cloud", help="Ask this cloud, too: sites once were there. May be repeated.")
    ] = None,
    as_data: Json = False,
) -> None:
    """Ask the clouds what they still have of a stack, by its tag. Changes nothing.

    Exit codes: 0 nothing is there; 1 something is; 2 mistakes in the stack file; 3 a cloud could not be asked.
    """
    stack, clouds = checked(name), known_clouds()
    if strangers := sorted(set(cloud or ()) - set(clouds)):
        errors.print(f"Unknown: {', '.join(strangers)}. Clouds: {', '.join(clouds)}.")
        raise typer.Exit(BAD_INPUT)
    found, refused = left.find(name, stack.topology(), clouds, cloud or (), all_regions)
    if as_data:
        print(json.dumps({"left": [vars(item) for item in found], "not_asked": refused}, indent=2))
    else:
        for item in found:
            console.print(f"[red]left[/]: {' '.join(filter(None, vars(item).values()))}", highlight=False)
        if not found and not refused:
            console.print(f"Nothing of stack {name} is left.")
    for problem in refused:
        errors.print(problem, highlight=False, markup=False)
    if found or refused:
        raise typer.Exit(FAILED if found else NOT_WELL)


@app.command()
def drain(
    hub: Annotated[str, typer.Argument(help="SITE/HUB, for example oregon/a.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let hosts come back, in their own time.")] = False,
    name: Annotated[str, typer.Option("--stack", "-s", help="The stack that the hub is of.")] = "lab",
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
    if not asyncio.run(drained(inventory, hub, undo, lambda line: console.print(line, highlight=False))):
        errors.print("The hub is not fit yet." if undo else "Hosts stayed: they reach no other hub that is fit.")
        raise typer.Exit(NOT_WELL)
    console.print(f"{hub} is fit: hosts come back in their own time." if undo else f"{hub} is drained.")


app.add_typer(policies, name="policy")
app.add_typer(rotations, name="rotate")


@app.command(hidden=True)
def env(name: StackName = "lab") -> None:
    """Print the line that plain `pulumi` needs to find a stack's state; scripts/env calls it."""
    settings = checked(name).settings()
    if settings:
        print("export " + " ".join(f"{key}={value}" for key, value in settings.items()))


def _unasked(stack: Stack, yes: bool) -> list[str]:
    return ["--yes", "--skip-preview"] if yes or stack.is_lab() else []


def _state(stack: Stack) -> dict:
    """Return the engine's state, its secrets still encrypted; {} if the stack was never made."""
    return json.loads(stack.answer("stack", "export", "-s", stack.name)) if stack.exists() else {}


def _show_price(stack: Stack) -> None:
    tables = load_tables()
    plan = planned(stack.topology(), known_clouds(), tables)
    show_difference(console, difference(running(_state(stack), tables), plan), tables)
    show_cost(console, plan, tables, f"Stack {stack.name} then, USD a month")


def _look(stack: Stack) -> None:
    inventory = Inventory.of(stack.outputs())
    findings = asyncio.run(look(inventory))
    show(console, inventory, findings)
    if not findings.all_well(inventory):
        errors.print("[red]Not all is well, see above.[/]")
        raise typer.Exit(NOT_WELL)


def _tell_stand_ins(stack: Stack) -> None:
    if there := os.environ.get("VCUBEV_STANDINS", "").split():
        asked = {"tls", "command", *(site.cloud for site in stack.topology().sites)}
        used = " and ".join(name for name in there if name in asked)
        console.print(
            f"[yellow]Stand-ins are in use for the provider plugins {used}[/]: the official ones "
            "cannot be downloaded here (README, What is emulated where)."
        )


def main() -> int:
    """Run a command; its failures as one clear text."""
    try:
        app()
    except StackErrors as mistakes:
        errors.print(str(mistakes), highlight=False, markup=False, soft_wrap=True)
        return BAD_INPUT
    except (EngineFailed, HubUnreachable, LabError, NotSignedIn, PriceTableError) as failure:
        errors.print(str(failure), highlight=False, markup=False, soft_wrap=True)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
