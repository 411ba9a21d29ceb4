"""How far each machine has come in a run of the engine, by the engine's events. Pure: the clock is the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.cli.progress.durations import Durations
from scripts.cli.progress.plan import (
    CONTACT,
    INSTALL,
    LINK,
    MACHINE,
    METRICS,
    NEAREST,
    OTHER,
    OWN,
    SERVICE,
    Plan,
    Resource,
)

if TYPE_CHECKING:  # it takes a quarter of a second to import
    from pulumi.automation import EngineEvent
    from pulumi.automation.events import DiagnosticEvent, StepEventMetadata

# The engine's operations, as they concern a user. A "replace" is told again as what it consists of.
LOOKS, KEEPS = {"refresh"}, {"same", "read", "read-replacement"}
MAKES, CHANGES = {"create", "create-replacement", "import", "import-replacement"}, {"update"}
REMOVES = {"delete", "delete-replaced"}
DONE, UNCHANGED, GONE, FAILED, WAITING = "done", "unchanged", "gone", "failed", "waiting"
UNFINISHED, UNREACHED = "not finished", "not reached"  # of a run that is over
DOING = {
    (MACHINE, "make"): "creating machine",
    (MACHINE, "change"): "changing machine",
    (MACHINE, "remove"): "deleting machine",
    (CONTACT, "make"): "booting, first contact",
    (LINK, "make"): "links",
    (LINK, "change"): "links",
    (OTHER, "make"): "preparing",
    (OTHER, "change"): "preparing",
}
# Of things that are done at one time, the state is the first of these.
WEIGHT = (MACHINE, CONTACT, INSTALL, SERVICE, METRICS, NEAREST, LINK)
BEGIN = "come to"  # kept as a duration too: how long a new stack's first things take, before there is any machine
TIMELESS = ("vcubev:", "pulumi:", "tls:")  # types of what is made within milliseconds
SHOWN = {"warning", "error", "info", "info#err"}  # all but what is for those who debug


@dataclass(frozen=True)
class Running:
    """A step that has begun."""

    kind: str
    verb: str  # "make", "change" or "remove"
    since: float


@dataclass
class Standing:
    """One machine, or the stack's own things."""

    name: str
    leaves: bool  # whether it is to go away
    running: dict[str, Running] = field(default_factory=dict)
    done: dict[str, bool] = field(default_factory=dict)  # step -> whether anything was changed
    there: set[str] = field(default_factory=set)  # steps whose outcome the state had when the run began
    settled: int = 0  # how many of what takes no time are made, kept or gone
    changed: bool = False
    being_made: bool = False
    gone: bool = False
    failed: str = ""  # the kind of step
    began: float | None = None
    last: float = 0.0  # when something of it ended


@dataclass(frozen=True)
class Told:
    """What the engine has to say about something."""

    owner: str
    severity: str
    text: str


class Course:
    """One run: takes events, and answers how things stand."""

    def __init__(self, plan: Plan, durations: Durations, destroys: bool = False) -> None:
        self.plan, self.durations, self.destroys = plan, durations, destroys
        self.standings = {name: Standing(name, destroys) for name in plan.members}
        self.own = Standing(OWN, destroys)
        self.fresh = False  # whether the whole stack is being made, so that every step is to be done
        self.started: float | None = None  # when the first event came
        self.looking = False  # whether the engine asks clouds what is still there
        self.over = False
        self.told: list[Told] = []

    def take(self, event: EngineEvent, at: float) -> None:
        """Learn what has happened.

        Args:
            at: When, by a clock that only goes forward.
        """
        self.started = at if self.started is None else self.started
        if event.resource_pre_event:
            self._begins(event.resource_pre_event.metadata, at)
        elif event.res_outputs_event:
            self._ends(event.res_outputs_event.metadata, at)
        elif event.res_op_failed_event:
            self._fails(event.res_op_failed_event.metadata, at)
        elif event.diagnostic_event:
            self._hears(event.diagnostic_event)
        elif event.policy_event:
            self._hear(
                event.policy_event.resource_urn, event.policy_event.enforcement_level, event.policy_event.message
            )
        elif event.summary_event:
            self.over = True

    def steps(self, standing: Standing) -> frozenset[str]:
        """Return what is to be done, by name."""
        member = self.plan.members.get(standing.name)
        return frozenset(standing.there) if standing.leaves or member is None else member.steps

    def complete(self, standing: Standing) -> bool:
        if standing is self.own:
            # What there is to do for it is not known: all of it is done where all machines are.
            return self.over and not standing.running and all(map(self.complete, self.standings.values()))
        if standing.leaves:
            return standing.gone
        return not standing.running and self.steps(standing) <= standing.done.keys()

    def state(self, standing: Standing) -> str:
        """Say in a word or three how it stands."""
        if standing.failed:
            return f"{FAILED}: {'preparing' if standing.failed == OTHER else standing.failed}"
        if running := self.current(standing):
            default = "removing" if running.verb == "remove" else "installing"
            return DOING.get((running.kind, running.verb), default)
        if self.complete(standing):
            return GONE if standing.leaves else DONE if standing.changed else UNCHANGED
        if standing is self.own and standing.settled:
            return f"{standing.settled} {GONE if standing.leaves else 'ready'}"
        if self.over:
            return UNFINISHED if standing.began is not None else UNREACHED
        awaited = self._awaited(standing)
        return f"{WAITING} for {awaited}" if awaited else WAITING

    def current(self, standing: Standing) -> Running | None:
        """Return what is being done, of several things the most telling one."""
        rank = {kind: number for number, kind in enumerate(WEIGHT)}
        return min(standing.running.values(), key=lambda one: (rank.get(one.kind, len(rank)), one.since), default=None)

    def kind(self, name: str, step: str, verb: str) -> str:
        """Return under which name a step's duration is kept."""
        member = self.plan.members.get(name)
        return f"{member.cloud} {member.kind}: {verb} {step}" if member else ""

    def installed(self, name: str) -> bool:
        member, standing = self.plan.members[name], self.standings[name]
        return f"{member.component}-install" in standing.done

    def met(self, name: str) -> bool:
        member, standing = self.plan.members[name], self.standings[name]
        return f"{member.component}-first-contact" in standing.done

    def everything(self) -> Iterator[Standing]:
        yield from self.standings.values()
        yield self.own

    def _awaited(self, standing: Standing) -> str:
        member = self.plan.members.get(standing.name)
        if member is None or standing.leaves:
            return ""
        if self.met(member.name):
            return next((other for other in member.after if not self.installed(other)), "")
        if member.only_then and not self.installed(member.only_then):
            return member.only_then
        return member.through if member.through and MACHINE in standing.done and not self.met(member.through) else ""

    def _of(self, metadata: StepEventMetadata) -> tuple[Standing, Resource, str, str]:
        resource = Resource.of(metadata.urn)
        state = metadata.new or metadata.old
        parent = Resource.of(state.parent) if state and state.parent else None
        owner = self.plan.owner(resource, parent)
        # What is no longer in the stack file goes.
        standing = self.own if owner == OWN else self.standings.setdefault(owner, Standing(owner, True))
        return standing, resource, *self.plan.step(resource)

    def _begins(self, metadata: StepEventMetadata, at: float) -> None:
        standing, resource, kind, step = self._of(metadata)
        self.looking = metadata.op in LOOKS
        if self.looking:
            if kind != OTHER:
                standing.there.add(step)
            return
        if (verb := _verb(metadata.op)) is None:
            return
        if resource.type == "pulumi:pulumi:Stack" and verb == "make":
            self.fresh = True
        if not resource.type.startswith(TIMELESS):
            standing.began = at if standing.began is None else standing.began
            standing.running[resource.name if kind == OTHER else step] = Running(kind, verb, at)
            if kind == MACHINE and self.fresh and self.started is not None:
                self.durations.add(self.kind(standing.name, MACHINE, BEGIN), at - self.started)
        standing.being_made |= verb == "make" and resource.lies_in("Machine") and kind != CONTACT

    def _ends(self, metadata: StepEventMetadata, at: float) -> None:
        standing, resource, kind, step = self._of(metadata)
        verb = _verb(metadata.op)
        if metadata.op in KEEPS and kind != OTHER:
            standing.done.setdefault(step, False)
        standing.settled += not resource.type.startswith(("vcubev:", "pulumi:")) and metadata.op not in LOOKS
        if verb is None:
            return
        standing.last = at
        standing.changed |= not resource.type.startswith("pulumi:")
        begun = standing.running.pop(resource.name if kind == OTHER else step, None)
        if verb != "remove" or standing.leaves:
            if kind != OTHER:
                standing.done[step] = True
            standing.gone |= verb == "remove" and resource.type in ("vcubev:index:Hub", "vcubev:index:Host")
        key = self.kind(standing.name, kind, begun.verb) if begun and kind != OTHER else ""
        if begun and key:
            self.durations.add(key, at - begun.since)

    def _fails(self, metadata: StepEventMetadata, at: float) -> None:
        standing, resource, kind, step = self._of(metadata)
        standing.running.pop(resource.name if kind == OTHER else step, None)
        standing.failed, standing.last = kind, at

    def _hears(self, said: DiagnosticEvent) -> None:
        if said.severity in SHOWN and not said.ephemeral:
            self._hear(said.urn, said.severity, f"{said.prefix or ''}{said.message}")

    def _hear(self, urn: str | None, severity: str, text: str) -> None:
        owner = OWN
        if urn:
            resource = Resource.of(urn)
            # The parent is not told: what lies below a machine bears its name.
            near = [c for c in self.plan.components if resource.name == c or resource.name.startswith(f"{c}-")]
            owner = self.plan.links.get(resource.name) or self.plan.components.get(max(near, key=len, default=""), OWN)
        told = Told(owner, severity, text.strip())
        if told.text and told not in self.told:
            self.told.append(told)


def _verb(operation: str) -> str | None:
    """Return what an operation does, in three words for twelve; None where it does nothing."""
    words = (("make", MAKES), ("change", CHANGES), ("remove", REMOVES))
    return next((verb for verb, operations in words if operation in operations), None)
