"""A snapshot on a terminal, 80 columns wide or more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scripts.cli.picture import FAR_MS, NEAR_MS
from scripts.cli.snapshot import (
    AWAY,
    DRAINED,
    LINK,
    OVERLAY4,
    OVERLAY6,
    TUNNEL,
    UNDERLAY,
    UP,
    Host,
    Hub,
    RoundTrip,
    Snapshot,
    Versions,
)

WARN_DAYS = 30
WIDE = 100  # columns, from which on there is room for IPv6
LOSSY = 0.005  # shown as less than one percent
CELL_COLUMNS = 6  # the least that a matrix' column takes: "120 ms" is a wide one
COLOURS = {UP: "green", DRAINED: "yellow", AWAY: "dim"}


def screen(snapshot: Snapshot, width: int, changes: Sequence[str] = ()) -> Group:
    """Return all of it, the changes first."""
    parts: list[RenderableType] = []
    if changes:
        parts.append(_table("Changes", "what", rows=[[escape(change)] for change in changes], header=False))
    parts += [
        _hosts(snapshot, width),
        *_moves(snapshot),
        *_nearest(snapshot),
        *_direct(snapshot),
        _hubs(snapshot),
        *_links(snapshot),
    ]
    parts += [*_matrices(snapshot, width), *_lines(snapshot)]
    return Group(*parts)


def age(since: str | None, now: str) -> str:
    """Return how long ago something was, in one unit: 12 s, 5 min, 3 h, 9 d."""
    if since is None:
        return ""
    seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def milliseconds(ms: float | None) -> str:
    """Return a round trip in its colour, three digits at most."""
    if ms is None:
        return "[red]-[/]"
    colour = "green" if ms < NEAR_MS else "yellow" if ms < FAR_MS else "dark_orange"
    return f"[{colour}]{ms:.2g}[/]" if ms < 1 else f"[{colour}]{ms:.1f}[/]" if ms < 10 else f"[{colour}]{ms:.0f}[/]"


def _table(title: str, *columns: str, rows: Iterable[Sequence[str]], header: bool = True) -> Table:
    table = Table(
        *columns, title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title_justify="left",
        title_style="bold", show_header=header, collapse_padding=True,
    )  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return table


def _state(member: Host | Hub) -> str:
    colour = COLOURS.get(member.state, "red")
    return f"[{colour}]{member.state}[/]"


def _hosts(snapshot: Snapshot, width: int) -> Table:
    wide = width >= WIDE
    columns = ["host", "role", "IPv4", *(["IPv6"] if wide else []), "state", "on hub", "and on", "since", "ms", "loss"]
    rows = []
    for host in snapshot.hosts:
        name = f"{host.name}*" if host.private else f"{host.name}~" if host.unmanaged else host.name
        path = next((path for path in host.paths if path.carries), None)
        ms = milliseconds(path.rtt_ms if path.alive else None) if path else ""
        addresses = [host.ipv4, host.ipv6] if wide else [host.ipv4]
        alone = "" if host.unmanaged else "[yellow]none[/]"
        place = [host.primary or "[red]none[/]", host.spare or alone, age(host.since, snapshot.time)]
        rows.append([name, host.role, *addresses, _state(host), *place, ms, _loss(host)])
    marks = {"* private": any(h.private for h in snapshot.hosts), "~ laptop": any(h.unmanaged for h in snapshot.hosts)}
    told = ", ".join(mark for mark, there in marks.items() if there)
    return _table(f"Hosts{f' ({told})' if told else ''}", *columns, rows=rows)


def _loss(host: Host) -> str:
    """Return the loss by each tunnel, that which carries the traffic first."""
    shares = [path.loss for path in sorted(host.paths, key=lambda path: not path.carries)]
    return "/".join(f"[red]{share:.0%}[/]" if share > LOSSY else "0" for share in shares)


def _moves(snapshot: Snapshot) -> Iterator[Table]:
    rows = []
    for host in snapshot.hosts:
        if move := host.last_move:
            way = f"{move.source or 'none'} → {move.target or 'none'}"
            outage = f"{move.outage_ms} ms" if move.outage_ms is not None else ""
            rows.append(
                [host.name, age(move.at, snapshot.time), way, move.reason, outage, str(sum(host.moves.values()))]
            )
    if rows:
        yield _table("Last moves", "host", "ago", "from → to", "why", "outage", "moves", rows=rows)


def _nearest(snapshot: Snapshot) -> Iterator[Table]:
    """Yield which servers hosts use of services with a shared address."""
    rows = []
    for host in snapshot.hosts:
        for one in host.nearest:
            server, why = one.server or "[red]none[/]", one.last_move.reason if one.last_move else ""
            ms, moves = milliseconds(one.rtt_ms) if one.server else "", str(sum(one.moves.values()))
            since = age(one.since, snapshot.time)
            rows.append([host.name, one.service, one.shared[0], server, ms, since, why, str(len(one.healthy)), moves])
    if rows:
        yield _table("Nearest servers", "host", "service", "at", "is", "ms", "since", "why", "well", "moves", rows=rows)


def _direct(snapshot: Snapshot) -> Iterator[Table]:
    """Yield hosts' tunnels to each other."""
    rows = [
        [host.name, one.peer, "direct" if one.in_use else "by hubs", milliseconds(one.rtt_ms), f"{one.loss:.0%}"]
        for host in snapshot.hosts
        for one in host.direct
    ]
    if rows:
        yield _table("Direct tunnels", "host", "to", "traffic", "ms", "loss", rows=rows)


def _hubs(snapshot: Snapshot) -> Table:
    rows = []
    for hub in snapshot.hubs:
        hosts = "" if hub.carried is None else f"{hub.preferred}/{hub.carried}"
        by = ", ".join(_sessions(hub, name, count) for name, count in sorted(hub.transports.items()) if count)
        up = sum(link.up for link in hub.links)
        colour = "green" if up == len(hub.links) else "red"
        links = f"[{colour}]{up}/{len(hub.links)}[/]" if hub.carried is not None else ""
        dco = "" if hub.dco is None else "kernel" if hub.dco else "program"
        if hub.dco is False and hub.offload and hub.offload.kernel:
            dco = f"program (kernel has {hub.offload.kernel})"
        rows.append([hub.name, hub.ipv4, _state(hub), hosts, by, links, dco])
    return _table("Hubs", "hub", "IPv4", "state", "traffic/tunnels", "sessions", "links", "moved by", rows=rows)


def _sessions(hub: Hub, transport: str, count: int) -> str:
    """Return how many there are by a transport, with those of each process where it has several."""
    by = [str(of) for door, of in sorted(hub.doors.items()) if door.rstrip("0123456789") == transport]
    return f"{count} {transport}" + (f" ({'+'.join(by)})" if len(by) > 1 else "")


def _links(snapshot: Snapshot) -> Iterator[Table]:
    """Yield the links, each once where both ends agree."""
    trips = {(trip.source, trip.target): trip.ms for trip in snapshot.round_trips if trip.by == LINK}
    rows, told = [], set()
    for hub in snapshot.hubs:
        for link in hub.links:
            other = (link.peer, hub.name, link.bgp, link.bfd)
            if other in told:
                continue
            told.add((hub.name, link.peer, link.bgp, link.bfd))
            ends = [trips[end] for end in ((hub.name, link.peer), (link.peer, hub.name)) if end in trips]
            known = [ms for ms in ends if ms is not None]
            ms = milliseconds(min(known) if known and len(known) == len(ends) else None) if ends else ""
            bgp = f"[green]{link.bgp}[/]" if link.up else f"[red]{link.bgp}[/]"
            bfd = f"[green]{link.bfd}[/]" if link.bfd == "Up" else f"[red]{link.bfd or 'none'}[/]"
            rows.append([f"{hub.name} — {link.peer}", bgp, bfd, age(link.since, snapshot.time), ms])
    if rows:
        yield _table("Links", "link", "BGP", "BFD", "since", "ms", rows=rows)


def _matrices(snapshot: Snapshot, width: int) -> Iterator[RenderableType]:
    hubs = [hub.name for hub in snapshot.hubs]
    near: dict[tuple[str, str], RoundTrip] = {}
    for trip in snapshot.round_trips:
        # A tunnel is what traffic takes; the hub's public side is all that is known of the others.
        better = {TUNNEL: 0, LINK: 0, UNDERLAY: 1}.get(trip.by)
        if better is not None and (better == 0 or (trip.source, trip.target) not in near):
            near[trip.source, trip.target] = trip
    cells = {ends: milliseconds(trip.ms) + ("'" if trip.by == UNDERLAY else "") for ends, trip in near.items()}
    sources = [name for name in snapshot.names if any((name, hub) in cells for hub in hubs)]
    if sources:
        yield from _split("Round trips to hubs, ms", sources, hubs, cells, width)
        if any("'" in cell for cell in cells.values()):
            yield Text("' by the underlay: there is no tunnel\n", style="dim")
    pairs = [trip for trip in snapshot.round_trips if trip.by in (OVERLAY4, OVERLAY6)]
    if pairs:
        hosts = [host.name for host in snapshot.hosts if not host.unmanaged]
        yield from _split("Round trips between hosts, ms", hosts, hosts, _both(pairs), width)


def _both(pairs: list[RoundTrip]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for trip in pairs:
        found.setdefault((trip.source, trip.target), {})[trip.by] = trip.ms
    cells = {}
    for ends, ms in found.items():
        four, six = ms.get(OVERLAY4), ms.get(OVERLAY6)
        lacking = {(True, True): "[red]LOST[/]", (True, False): " [red]v6 only[/]", (False, True): " [red]v4 only[/]"}
        mark = lacking.get((four is None, six is None), "")
        known = [one for one in (four, six) if one is not None]
        cells[ends] = (milliseconds(min(known)) if known else "") + mark
    return cells


def _split(
    title: str, rows: Sequence[str], columns: Sequence[str], cells: dict[tuple[str, str], str], width: int
) -> Iterator[Table]:
    """Yield a matrix, in as many tables as the width asks for."""
    first = max(map(len, rows), default=0)
    widths = [max(CELL_COLUMNS, len(column)) + 1 for column in columns]
    begin = 0
    while begin < len(columns):
        end, room = begin + 1, width - first - 2 - widths[begin]
        while end < len(columns) and widths[end] <= room:
            room -= widths[end]
            end += 1
        part = columns[begin:end]
        lines = [[row, *("" if row == column else cells.get((row, column), "") for column in part)] for row in rows]
        yield _table(title if begin == 0 else f"{title}, more", "from \\ to", *part, rows=lines)
        begin = end


def _lines(snapshot: Snapshot) -> Iterator[RenderableType]:
    lines = [*_versions(snapshot), *_drops(snapshot), *_ends(snapshot)]
    yield Text.from_markup("\n".join(lines)) if lines else ""
    troubled = [f"[red]{escape(trouble.member)}[/]: {escape(trouble.why)}" for trouble in snapshot.troubles]
    if troubled:
        yield Text.from_markup("[bold]Not well[/]\n" + "\n".join(troubled))
    if snapshot.unseen:
        names = ", ".join(escape(trouble.member) for trouble in snapshot.unseen)
        told = "What they would say themselves is missing above; what others know of them is there."
        yield Text.from_markup(f"[bold]Not seen[/] {names}. {told}")
    elif snapshot.well:
        yield Text.from_markup("[green]All is well.[/]")


def _versions(snapshot: Snapshot) -> Iterator[str]:
    """Say which versions there are, and who differs from most."""
    for program, kind in (("openvpn", "OpenVPN"), ("bird", "BIRD"), ("kernel", "kernel")):
        found: dict[str, list[str]] = {}
        for member in (*snapshot.hubs, *snapshot.hosts):
            versions: Versions | None = member.versions
            if versions and (version := getattr(versions, program)):
                found.setdefault(version, []).append(member.name)
        usual, *others = sorted(found, key=lambda version: (-len(found[version]), version)) or [""]
        if usual:
            differ = "; ".join(f"[yellow]{other} on {_few(found[other])}[/]" for other in others)
            yield f"{kind} {usual}{f'; {differ}' if differ else ''}"


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _drops(snapshot: Snapshot) -> Iterator[str]:
    for member in (*snapshot.hubs, *snapshot.hosts):
        dropped = {rule: n for rule, n in (member.counters.drop if member.counters else {}).items() if n}
        if dropped:
            told = ", ".join(f"{n} {escape(rule)}" for rule, n in sorted(dropped.items()))
            yield f"[yellow]{member.name} dropped packets[/]: {told}"


def _ends(snapshot: Snapshot) -> Iterator[str]:
    now, ends = datetime.fromisoformat(snapshot.time), snapshot.certificates

    def left(end: str) -> str:
        days = (datetime.fromisoformat(end) - now).days
        return f"[yellow]in {days} days ({end[:10]})[/]" if days < WARN_DAYS else f"in {days} days ({end[:10]})"

    own = {member.name: member.certificate_ends for member in (*snapshot.hubs, *snapshot.hosts)}
    first = min(((end, name) for name, end in own.items() if end), default=None)
    if first:
        yield f"Certificates on machines: the first to end is {first[1]}'s, {left(first[0])}"
    if ends.earliest:
        yield f"Certificates in the state: the first to end is {ends.earliest_of}'s, {left(ends.earliest)}"
    if ends.revocation_list:
        yield f"Authority and revocation list end {left(ends.revocation_list)}; {ends.revoked} revoked"
    on_hubs = {hub.revocation_list_ends[:10] for hub in snapshot.hubs if hub.revocation_list_ends}
    if len(on_hubs) > 1:
        yield f"[yellow]Hubs have different revocation lists: they end {', '.join(sorted(on_hubs))}[/]"
    yield from (f"[yellow]{host} is refused by all hubs: its certificate is revoked[/]" for host in ends.refused)
