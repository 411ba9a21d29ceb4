"""What has changed between two snapshots, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from scripts.cli.snapshot import Host, Hub, Snapshot


def changes(before: Snapshot, now: Snapshot) -> Iterator[str]:
    """Yield a line for each thing that happened, with the time of day."""
    clock = datetime.fromisoformat(now.time).astimezone().strftime("%H:%M:%S")
    yield from (f"{clock} {name}: {what}" for name, what in happenings(before, now))


def happenings(before: Snapshot, now: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield (member, what happened)."""
    old = {member.name: member for member in (*before.hubs, *before.hosts)}
    for member in (*now.hubs, *now.hosts):
        was = old.pop(member.name, None)
        if was is None:
            yield member.name, "new"
            continue
        if was.state != member.state:
            yield member.name, f"{was.state} → {member.state}{f' ({member.why})' if member.why else ''}"
        told = _of_host(was, member) if isinstance(member, Host) else _of_hub(was, member)  # type: ignore[arg-type]
        yield from ((member.name, line) for line in told)
    yield from ((name, "gone") for name in old)


def _of_host(was: Host, now: Host) -> Iterator[str]:
    move = now.last_move
    if move and (was.last_move is None or was.last_move.at != move.at):
        outage = f", {move.outage_ms} ms" if move.outage_ms is not None else ""
        yield f"traffic {move.source or 'none'} → {move.target or 'none'} ({move.reason}{outage})"
    elif move and was.last_move and was.last_move.outage_ms is None and move.outage_ms is not None:
        yield f"had no answer for {move.outage_ms} ms"
    elif was.primary != now.primary:
        yield f"traffic {was.primary or 'none'} → {now.primary or 'none'}"
    if was.spare != now.spare:
        yield f"spare {was.spare or 'none'} → {now.spare or 'none'}"
    if now.rival and not was.rival:
        yield "another machine has its identity"


def _of_hub(was: Hub, now: Hub) -> Iterator[str]:
    links = {link.peer: link for link in was.links}
    for link in now.links:
        if link.peer not in links:
            yield f"link to {link.peer}: new"
        elif links[link.peer].up != link.up:
            yield f"link to {link.peer}: {'up' if link.up else f'down ({link.bgp})'}"
