"""Puts findings on the screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.cli.inventory import Inventory
from scripts.cli.reach import Findings

WARN_DAYS = 30
MARKS = {(True, True): "ok", (True, False): "v4 only", (False, True): "v6 only", (False, False): "LOST"}


def host_table(inventory: Inventory, findings: Findings) -> Table:
    """One line for each host, as people look for it."""
    table = Table("host", "site", "role", "IPv4", "IPv6", "on hub", "and on", title="Hosts")
    for host in sorted(inventory.hosts.values(), key=lambda host: (host.site, host.name)):
        name = f"{host.name} (private)" if host.private else host.name
        hub = findings.carrier.get(host.name, "[red]none[/]")
        spares = ", ".join(findings.spares.get(host.name, ()))
        table.add_row(name, host.site, host.role, host.ipv4, host.ipv6, hub, spares)
    return table


def reach_table(inventory: Inventory, findings: Findings) -> Table:
    """Who reaches whom, both families."""
    names = sorted(inventory.hosts)
    table = Table("from \\ to", *names, title="Reachability (ping, IPv4 and IPv6)")
    for source in names:
        cells = []
        for target in names:
            both = tuple(findings.reached.get((source, target, family), False) for family in ("ipv4", "ipv6"))
            mark = MARKS[both]  # type: ignore[index]
            cells.append("-" if source == target else f"[green]{mark}[/]" if mark == "ok" else f"[red]{mark}[/]")
        table.add_row(source, *cells)
    return table


def lives_lines(inventory: Inventory, now: datetime) -> list[str]:
    """Say when certificates end, and who is refused; a warning where that is soon."""
    if not inventory.lives:
        return []
    lives = inventory.lives
    first = lives["earliest"]

    def days(end: str) -> int:
        return (datetime.fromisoformat(end) - now).days

    def left(end: str) -> str:
        told = f"in {days(end)} days ({end[:10]})"
        return f"[yellow]{told}[/]" if days(end) < WARN_DAYS else told

    told = f"Certificates: the first to end is {first['name']}'s, {left(first['end'])}; "
    told += f"authority and revocation list end {left(lives['revocation_list'])}; {len(lives['revoked'])} revoked"
    lines = [told]
    if days(first["end"]) < WARN_DAYS:
        lines.append(f"[yellow]Less than {WARN_DAYS} days are left: `up` renews certificates.[/]")
    if days(lives["revocation_list"]) < WARN_DAYS:
        lines.append(f"[yellow]Less than {WARN_DAYS} days are left to the authority: scripts/rotate ca.[/]")
    lines += [f"[yellow]{host} is refused by all hubs: its certificate is revoked[/]" for host in inventory.refused]
    return lines


def show(console: Console, inventory: Inventory, findings: Findings) -> None:
    """Print hosts, matrix and logins."""
    console.print(host_table(inventory, findings))
    if inventory.pings:
        console.print(reach_table(inventory, findings))
    else:
        console.print("Reachability: not looked at, hosts answer no pings (policy.ping is false)", highlight=False)
    for host, via in sorted(findings.logins.items()):
        address = inventory.hosts[host].ipv4
        told = f"[green]ok[/], through hub {via}" if via else "[red]failed[/]"
        console.print(f"SSH to {host} (private) at its virtual address {address}: {told}")
    for line in lives_lines(inventory, datetime.now(UTC)):
        console.print(line, highlight=False)
    for machine, reason in sorted(findings.unreachable.items()):
        console.print(f"[red]{machine} cannot be reached by SSH[/]: {reason}", highlight=False)


def as_json(inventory: Inventory, findings: Findings) -> dict[str, Any]:
    """Return all of it for programs."""
    hosts = [
        {
            "name": host.name,
            "site": host.site,
            "role": host.role,
            "private": host.private,
            "ipv4": host.ipv4,
            "ipv6": host.ipv6,
            "on_hub": findings.carrier.get(host.name),
            "and_on": findings.spares.get(host.name, []),
            **({"login_through": findings.logins[host.name] or None} if host.name in findings.logins else {}),
        }
        for host in inventory.hosts.values()
    ]
    hubs = [{"name": hub.name, "site": hub.site, "ipv4": hub.ipv4, "ipv6": hub.ipv6} for hub in inventory.hubs.values()]
    reached = [
        {"from": source, "to": target, "family": family, "reached": well}
        for (source, target, family), well in sorted(findings.reached.items())
    ]
    return {
        "well": findings.all_well(inventory),
        "hubs": sorted(hubs, key=lambda hub: hub["name"]),
        "hosts": sorted(hosts, key=lambda host: host["name"]),
        "reached": reached,
        "unreachable": dict(sorted(findings.unreachable.items())),
    }
