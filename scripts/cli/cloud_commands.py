"""`vcubev place` and `vcubev leftovers`: what clouds offer, and what they still have."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from components.clouds import known_clouds
from scripts.cli import leftovers as left
from scripts.cli import place
from scripts.cli.inventory import Inventory
from scripts.cli.prices import load_tables
from scripts.cli.terminal import BAD_INPUT, FAILED, NOT_WELL, Json, StackName, checked, console, errors


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
