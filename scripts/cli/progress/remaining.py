"""How long it will still take, where that is known; None where it is not. Pure."""

from __future__ import annotations

from functools import cache

from scripts.cli.progress.course import BEGIN, Course, Running, Standing
from scripts.cli.progress.plan import CONTACT, CRL, INSTALL, LINK, MACHINE, METRICS, NEAREST, OWN, SERVICE

LONG_SECONDS = 5.0  # of what takes less, nobody asks when it ends
OVERDUE = 1.5  # a step that has taken so many times its usual time ends nobody knows when


def of_step(course: Course, standing: Standing, running: Running, at: float) -> float | None:
    """Return how long a step that has begun will still take, by what such steps took before."""
    usual = course.durations.usual(course.kind(standing.name, running.kind, running.verb))
    if usual is None or at - running.since > max(usual * OVERDUE, LONG_SECONDS):
        return None
    return max(0.0, usual - (at - running.since))


def of_long_step(course: Course, standing: Standing, at: float) -> float | None:
    """Return the same of what a machine is at, if that is long."""
    running = course.current(standing)
    if running is None or standing.name == OWN:
        return None
    usual = course.durations.usual(course.kind(standing.name, running.kind, running.verb))
    return of_step(course, standing, running, at) if usual is not None and usual >= LONG_SECONDS else None


def of_all(course: Course, at: float) -> float | None:
    """Return how long the machines will still take, all of them.

    Known only while each step that is to come is known to come, and how long it takes: of machines that are being made.
    Whether what exists will change, the engine knows when it comes to it.
    """
    outlook = _Outlook(course, at)
    try:
        return max((outlook.machine(name) for name in course.standings), default=None)
    except _Unknown:
        return None


class _Unknown(Exception):
    pass


class _Outlook:
    """What is to come, from one moment on: each answer is seconds from then, or raises _Unknown."""

    def __init__(self, course: Course, at: float) -> None:
        self._course, self._at = course, at
        # Many machines wait for the same hub.
        self._installed, self._met = cache(self._when_installed), cache(self._when_met)

    def machine(self, name: str) -> float:
        course, standing = self._course, self._course.standings[name]
        if standing.failed:
            raise _Unknown
        if course.complete(standing):
            return 0.0
        member = course.plan.members.get(name)
        if standing.leaves or member is None:
            return self._step(standing, MACHINE, MACHINE, "remove") if MACHINE in standing.there else 0.0
        installed = self._installed(name)
        open_steps = course.steps(standing) - standing.done.keys()
        after = [self._step(standing, METRICS, step) for step in open_steps if step == f"{member.component}-metrics"]
        # The agent, then side by side what it is told of each service.
        agent, ways = f"{member.component}-nearest", f"{member.component}-nearest-"
        after += [self._step(standing, NEAREST, step) for step in open_steps if step.startswith(ways)]
        after = [max(after, default=0.0) + sum(self._step(standing, NEAREST, step) for step in open_steps & {agent})]
        for step in open_steps & course.plan.links.keys():
            late = [self._installed(hub) - installed for hub in course.plan.ends(step)]
            after.append(max(late) + self._step(standing, LINK, step))
        return installed + max(after, default=0.0)

    def _when_installed(self, name: str) -> float:
        """After the first contact, its services, and those whose turn is before."""
        course, standing = self._course, self._course.standings[name]
        if course.installed(name):
            return 0.0
        member = course.plan.members[name]
        crl, service = f"{member.component}-crl", f"{member.component}-service-"
        first = [self._step(standing, CRL, step) for step in course.steps(standing) if step == crl]
        first += [self._step(standing, SERVICE, step) for step in course.steps(standing) if step.startswith(service)]
        begins = [self._met(name) + max(first, default=0.0), *(self._installed(other) for other in member.after)]
        return max(begins) + self._step(standing, INSTALL, f"{member.component}-install")

    def _when_met(self, name: str) -> float:
        course, standing = self._course, self._course.standings[name]
        if course.met(name):
            return 0.0
        member = course.plan.members[name]
        made = max(self._begun(standing), self._installed(member.only_then) if member.only_then else 0.0)
        made += self._step(standing, MACHINE, MACHINE) if MACHINE in member.steps else 0.0
        if member.through:
            made = max(made, self._met(member.through))
        return made + self._step(standing, CONTACT, f"{member.component}-first-contact")

    def _begun(self, standing: Standing) -> float:
        """Until the networks of a new stack are there, and whatever else comes before its machines."""
        course = self._course
        waits = MACHINE not in standing.running and MACHINE not in standing.done
        if not (course.fresh and waits and MACHINE in course.steps(standing)) or course.started is None:
            return 0.0
        usual = course.durations.usual(course.kind(standing.name, MACHINE, BEGIN))
        if usual is None or self._at - course.started > max(usual * OVERDUE, LONG_SECONDS):
            raise _Unknown
        return max(0.0, usual - (self._at - course.started))

    def _step(self, standing: Standing, kind: str, step: str, verb: str = "make") -> float:
        course = self._course
        if step in standing.done:
            return 0.0
        left = None
        if running := standing.running.get(step):
            left = of_step(course, standing, running, self._at)
        elif course.fresh or standing.being_made or verb == "remove":
            left = course.durations.usual(course.kind(standing.name, kind, verb))
        if left is None:
            raise _Unknown
        return left
