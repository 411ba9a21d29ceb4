"""Puts together what machines said, and what they did not: answers become a snapshot. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.model.topology import Topology
from scripts.cli.facts import facts_of, offload_of
from scripts.cli.inventory import Inventory, Member
from scripts.cli.reach import places
from scripts.cli.snapshot import (
    AWAY,
    CUT_OFF,
    DOWN,
    DRAINED,
    HIDDEN,
    LINK,
    TUNNEL,
    UNDERLAY,
    UNFIT,
    UP,
    Certificates,
    Counters,
    Direct,
    Host,
    Hub,
    Link,
    Move,
    Nearest,
    Path,
    RoundTrip,
    ServerMove,
    Site,
    Snapshot,
    Trouble,
)

if TYPE_CHECKING:
    from scripts.cli.gather import Answer

SILENT_SECONDS = 20  # an agent that writes every five seconds and has not for so long is dead
HANGING_SECONDS = 0.7  # a machine that nobody else sees either is down if it has not answered for so long
NOTHING = "its agent says nothing"


def assemble(
    stack: str,
    inventory: Inventory,
    topology: Topology | None,
    answers: Mapping[str, Answer],
    now: datetime,
    moment: float,
) -> Snapshot:
    """Return a snapshot.

    Args:
        topology: The stack file's, if it can be read: it knows the sites' clouds, and laptops.
        answers: One for each member of the inventory.
        moment: Now on the clock of the answers, which is monotonic.
    """
    carried = places({name: answers[name].routes or [] for name in inventory.hubs if not answers[name].why})
    names = {member.ipv4: member.name for member in inventory.hosts.values()}
    hosts = [_host(host, answers[host.name], carried.get(host.ipv4, []), names) for host in _sorted(inventory.hosts)]
    hosts += _laptops(topology, carried, {host.name for host in hosts})
    sights = _sights(hosts, inventory, answers)
    hubs = [_hub(hub, answers[hub.name], sights.get(hub.name, set()), moment) for hub in _sorted(inventory.hubs)]
    unseen = [Trouble(name, answer.why) for name, answer in sorted(answers.items()) if answer.why]
    unseen += [Trouble(m.name, m.why) for m in (*hubs, *hosts) if m.why.startswith(NOTHING)]
    troubles = _troubles(hubs, hosts)
    return Snapshot(
        stack=stack,
        time=iso(now.timestamp()) or "",
        well=not troubles,
        troubles=troubles,
        sites=_sites(inventory, topology, hosts),
        hubs=hubs,
        hosts=sorted(hosts, key=lambda host: (host.site, host.name)),
        round_trips=_round_trips(inventory, answers),
        certificates=_certificates(inventory),
        unseen=unseen,
    )


def iso(seconds: float | None) -> str | None:
    """Return a moment of the epoch as text."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sorted(members: Mapping[str, Member]) -> list[Member]:
    return sorted(members.values(), key=lambda member: (member.site, member.name))


def _silent(answer: Answer) -> str:
    """Return what is the matter with an agent; "" if it speaks."""
    if answer.why:
        return ""
    if not answer.state:
        return NOTHING
    if answer.age_seconds is not None and answer.age_seconds > SILENT_SECONDS:
        return f"{NOTHING} since {answer.age_seconds} s"
    return ""


def _host(member: Member, answer: Answer, carried: list[str], names: Mapping[str, str]) -> Host:
    own = {key: getattr(member, key) for key in ("name", "site", "role", "ipv4", "ipv6", "private")}
    state, silent = answer.state or {}, _silent(answer)
    if answer.why or silent:
        # What hubs say of it holds all the same.
        why = silent or (f"SSH: {answer.why}")
        standing = HIDDEN if carried else DOWN
        spare = carried[1] if len(carried) > 1 else None
        return Host(**own, state=standing, why=why, primary=next(iter(carried), None), spare=spare)
    paths = [
        Path(
            p["hub"],
            p["transport"],
            str(state.get("active")) == number,
            p["alive"],
            p["fit"],
            p["rtt_ms"],
            p["loss"],
            p.get("endpoint"),
            p.get("mtu_bytes"),
        )
        for number, p in sorted(state.get("paths", {}).items())
        if p["hub"]
    ]
    well = any(path.carries and path.alive for path in paths)
    last = state.get("last_move")
    return Host(
        **own,
        state=UP if well else CUT_OFF,
        why="" if well else "no tunnel brings answers",
        primary=next((path.hub for path in paths if path.carries), None),
        spare=next((path.hub for path in paths if not path.carries and path.alive), None),
        since=iso(state.get("since")),
        last_move=last and Move(iso(last["at"]) or "", last["from"], last["to"], last["reason"], last["outage_ms"]),
        moves=state.get("moves", {}),
        paths=paths,
        nearest=[_nearest(service, told, names) for service, told in sorted(answer.nearest.items())],
        direct=[
            Direct(names.get(told["peer"], told["peer"]), told["in_use"], told["rtt_ms"], told["loss"])
            for _, told in sorted(answer.direct.items())
        ],
        rival=bool(state.get("rival")),
        certificate_ends=iso(state.get("ends", {}).get("certificate")),
        counters=_counters(state),
        **facts_of(answer.facts),
    )


def _nearest(service: str, told: Mapping[str, Any], names: Mapping[str, str]) -> Nearest:
    """Return which server a host uses; hosts by name where they are known."""
    name = lambda address: address and names.get(address, address)  # noqa: E731
    last = told.get("last_move")
    return Nearest(
        service,
        told["shared"],
        name(told["server"]),
        told["rtt_ms"],
        iso(told["since"]),
        [name(address) for address in told["healthy"]],
        last and ServerMove(iso(last["at"]) or "", name(last["from"]), name(last["to"]), last["reason"]),
        told.get("moves", {}),
    )


def _laptops(topology: Topology | None, carried: Mapping[str, list[str]], known: set[str]) -> list[Host]:
    found = []
    for host in topology.hosts if topology else ():
        if host.unmanaged and host.name not in known:
            at = carried.get(str(host.address.ipv4), [])
            own = {"ipv4": str(host.address.ipv4), "ipv6": str(host.address.ipv6), "unmanaged": True}
            place = {"state": UP if at else AWAY, "primary": at[0] if at else None}
            found.append(Host(host.name, host.site, host.role, **own, **place))
    return found


def _sights(hosts: list[Host], inventory: Inventory, answers: Mapping[str, Answer]) -> dict[str, set[bool]]:
    """Return what others see of each hub: whether it answers them, as hosts' probes and hubs' BFD have it."""
    sights: dict[str, set[bool]] = {}
    for host in hosts:
        for path in host.paths:
            sights.setdefault(path.hub, set()).add(path.alive)
    for name in inventory.hubs:
        if not answers[name].why and not _silent(answers[name]):
            for link in (answers[name].state or {}).get("links", ()):
                sights.setdefault(link["peer"], set()).add(link["bfd"] == "Up")
    return sights


def _hub(member: Member, answer: Answer, sights: set[bool], moment: float) -> Hub:
    own = {key: getattr(member, key) for key in ("name", "site", "ipv4", "ipv6")}
    if answer.why:
        if True in sights:
            return Hub(**own, state=HIDDEN, why=f"others reach it, but SSH: {answer.why}")
        return Hub(**own, state=DOWN, why=f"SSH: {answer.why}")
    if sights == {False} and answer.asked > answer.answered and moment - answer.asked > HANGING_SECONDS:
        return Hub(**own, state=DOWN, why="it answers nobody")
    if silent := _silent(answer):
        # What it said last is no longer so.
        return Hub(**own, state=UNFIT, why=silent, offload=offload_of(answer.facts), **facts_of(answer.facts))
    state = answer.state or {}
    draining, fit, ends = bool(state.get("draining")), bool(state.get("fit")), state.get("ends", {})
    return Hub(
        **own,
        state=UP if fit else DRAINED if draining else UNFIT,
        why="" if fit else ", ".join(state.get("reasons", ())),
        draining=draining,
        preferred=state.get("preferred"),
        carried=state.get("carried"),
        transports=state.get("transports", {}),
        doors=state.get("doors", {}),
        shut=state.get("shut", []),
        links=[
            Link(link["peer"] or f"hub {link['id']}", link["bgp"], link["bfd"], iso(link["since"]))
            for link in state.get("links", ())
        ],
        certificate_ends=iso(ends.get("certificate")),
        revocation_list_ends=iso(ends.get("revocation_list")),
        counters=_counters(state),
        offload=offload_of(answer.facts),
        **facts_of(answer.facts),
    )


def _counters(state: Mapping[str, Any]) -> Counters | None:
    counted = state.get("counted")
    return Counters(counted.get("drop", {}), counted.get("accept", {})) if counted else None


def _round_trips(inventory: Inventory, answers: Mapping[str, Answer]) -> list[RoundTrip]:
    found = []
    for name, answer in sorted(answers.items()):
        if answer.why or _silent(answer):
            continue
        if name in inventory.hubs:
            found += [RoundTrip(name, peer, LINK, ms) for peer, ms in sorted(answer.link_ms.items())]
            continue
        state = answer.state or {}
        paths = [path for path in state.get("paths", {}).values() if path["hub"]]
        found += [RoundTrip(name, p["hub"], TUNNEL, p["rtt_ms"] if p["alive"] else None) for p in paths]
        seen = state.get("hubs", {}).items()
        found += [RoundTrip(name, hub, UNDERLAY, one["rtt_ms"]) for hub, one in sorted(seen) if hub in inventory.hubs]
        found += [RoundTrip(*ends, family, ms) for (*ends, family), ms in sorted(answer.host_ms.items())]
    return found


def _sites(inventory: Inventory, topology: Topology | None, hosts: list[Host]) -> list[Site]:
    known = {site.name: site for site in topology.sites} if topology else {}
    names = sorted({member.site for member in (*inventory.hubs.values(), *hosts)})
    return [
        Site(
            name,
            known[name].cloud if name in known else "",
            known[name].region if name in known else "",
            sorted(hub.name for hub in inventory.hubs.values() if hub.site == name),
            sorted(host.name for host in hosts if host.site == name),
        )
        for name in names
    ]


def _certificates(inventory: Inventory) -> Certificates:
    lives = inventory.lives
    first = lives.get("earliest", {})
    return Certificates(
        lives.get("authority"),
        lives.get("revocation_list"),
        first.get("end"),
        first.get("name", ""),
        len(lives.get("revoked", ())),
        list(inventory.refused),
    )


def _troubles(hubs: list[Hub], hosts: list[Host]) -> list[Trouble]:
    found = [Trouble(m.name, m.why or m.state) for m in (*hubs, *hosts) if m.state not in (UP, DRAINED, AWAY)]
    found += [Trouble(h.name, "another machine has its identity, and its traffic") for h in hosts if h.rival]
    lonely = [(host.name, nearest.service) for host in hosts for nearest in host.nearest if nearest.server is None]
    found += [Trouble(name, f"service {service} has no server that is well for it") for name, service in lonely]
    lost = {hub.name for hub in hubs if hub.state == DOWN}
    for hub in hubs:
        found += [Trouble(hub.name, f"hosts cannot come in by {door}: that OpenVPN does not run") for door in hub.shut]
        # A link to a hub that is down is no trouble of its own.
        down = [link for link in hub.links if not link.up and link.peer not in lost]
        found += [Trouble(hub.name, f"its link to {link.peer} is down ({link.bgp})") for link in down]
    return found
