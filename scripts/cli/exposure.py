"""How much of its machine each daemon could reach: what systemd says of its unit, and with which rights it runs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass

import typer
from rich.table import Table

from scripts.cli.access_commands import inventory_of
from scripts.cli.inventory import Inventory
from scripts.cli.reach import Findings, Observer
from scripts.cli.terminal import NOT_WELL, Json, StackName, console, errors, tell

# On a machine, with no rights; prints a line for each unit that is up: name, exposure, user, what it may do at most.
PROBE = r"""
{ systemctl list-units --plain --no-legend --full 'vcubev-*.service' bird.service |
    awk '$2 == "loaded" { print $1 }'
  [ ! -e /etc/systemd/system/vcubev-turn@.service ] || echo vcubev-turn@1.service; } | sort -u |
while read -r unit; do
  exposure=$(systemd-analyze security --no-pager "$unit" | sed -n 's/.*xposure level for [^ ]*: \([0-9.]*\) .*/\1/p')
  user=$(systemctl show --property=User --value "$unit")
  rights=$(systemctl show --property=CapabilityBoundingSet --value "$unit" | tr ' ' ,)
  echo "$unit ${exposure:-10} ${user:-root} ${rights:--}"
done
"""
MOST_SHOWN = 60  # characters of rights


@dataclass(frozen=True)
class Exposure:
    """One unit's."""

    exposure: float  # 0: nothing to reach, 10: everything; systemd-analyze(1)
    user: str
    rights: tuple[str, ...]  # capabilities, without "cap_"


def parse(printed: str) -> dict[str, Exposure]:
    """Read what PROBE prints: unit without its suffix -> what it may reach."""
    found = {}
    for unit, exposure, user, rights in map(str.split, printed.splitlines()):
        names = tuple(name.removeprefix("cap_") for name in rights.split(",") if name not in ("", "-"))
        found[unit.removesuffix(".service")] = Exposure(float(exposure), user, names)
    return found


async def measured(inventory: Inventory) -> tuple[dict[str, dict[str, Exposure]], Findings]:
    """Ask all machines; return machine -> unit -> what it may reach."""
    findings = Findings()
    async with Observer(inventory) as observer:
        await observer.connect(findings)
        machines = list(observer.connections)
        answers = await asyncio.gather(*[observer.run(machine, PROBE) for machine in machines])
    return {machine: parse(answer) for machine, answer in zip(machines, answers, strict=True)}, findings


def exposure(
    name: StackName = "lab",
    as_data: Json = False,
) -> None:
    """Show how much of its machine each daemon could reach, by systemd's own figure. Changes nothing.

    Exit codes: 0 shown; 1 the stack is not up; 2 mistakes in the stack file; 3 a machine was not reached.
    """
    _, inventory = inventory_of(name)
    found, findings = asyncio.run(measured(inventory))
    if as_data:
        units = {name: {unit: asdict(one) for unit, one in each.items()} for name, each in found.items()}
        tell({"machines": units, "unreachable": findings.unreachable})
        raise typer.Exit(NOT_WELL if findings.unreachable else 0)
    table = Table("unit", "exposure", "user", "capabilities", "machines", title="0: nothing, 10: the whole machine")
    for unit in sorted({unit for units in found.values() for unit in units}):
        own = [units[unit] for units in found.values() if unit in units]
        worst = max(own, key=lambda one: one.exposure)
        rights = " ".join(worst.rights)
        shown = rights if len(rights) <= MOST_SHOWN else f"{len(worst.rights)} of them"
        table.add_row(unit, f"{worst.exposure:.1f}", worst.user, shown, str(len(own)))
    console.print(table)
    for machine, reason in sorted(findings.unreachable.items()):
        errors.print(f"{machine} cannot be reached by SSH: {reason}", highlight=False)
    if findings.unreachable:
        raise typer.Exit(NOT_WELL)
