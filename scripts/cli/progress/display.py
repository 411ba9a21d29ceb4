"""A run of the engine on a terminal: one line for each machine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scripts.cli.progress.course import DONE, FAILED, GONE, UNCHANGED, UNFINISHED, UNREACHED, WAITING, Course, Standing
from scripts.cli.progress.plan import OWN
from scripts.cli.progress.remaining import of_all, of_long_step

OWN_NAME = "(the stack)"  # keys, networks, firewalls
BAR_COLUMNS = 10
# What most rows need, so that nothing moves sideways.
COLUMNS = {"machine": 11, "state": 22, "steps": BAR_COLUMNS, "": 3, "time": 10, "left": 12}
BAR = "steps"  # that is only drawn; below so many columns the figures need its place
LEAST_COLUMNS_OF_BAR = 96
AROUND_LINES = 6  # heading, rule, the lines below, and one for the cursor
FEWEST_LINES = 4
# What is worth a line first, where there are more machines than lines.
RANK = {FAILED: 0, "": 1, WAITING: 2, UNFINISHED: 2, UNREACHED: 3, DONE: 4, GONE: 4, UNCHANGED: 5}
COLOURS = {
    FAILED: "red", DONE: "green", GONE: "green", UNCHANGED: "dim", WAITING: "dim", UNFINISHED: "yellow",
    UNREACHED: "dim",
}  # fmt: skip


class Display:
    """Draws a course as it stands at each moment."""

    def __init__(self, course: Course, clock: Callable[[], float]) -> None:
        self._course, self._clock = course, clock
        self._started = clock()
        self._ending = False
        self.lock = threading.Lock()  # events come and pictures are drawn in threads of their own

    def end(self) -> None:
        """Say from now on that the user has asked for the end."""
        self._ending = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self.lock:
            lines = options.height or console.height
            now = picture(self._course, self._started, self._clock(), lines, self._ending, options.max_width)
        yield now


def picture(
    course: Course, started: float, at: float, lines: int, ending: bool = False, columns: int = LEAST_COLUMNS_OF_BAR
) -> Group:
    """Return the table and what stands below it.

    Args:
        lines: How many the terminal has; the most telling machines are shown.
        ending: Whether the user has asked for the end.
        columns: How many the terminal has.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    drawn = [column for column in COLUMNS if column != BAR or columns >= LEAST_COLUMNS_OF_BAR]
    for column in drawn:
        heading = column if BAR in drawn else column or BAR
        table.add_column(heading, min_width=COLUMNS[column])
    shown, hidden = _chosen(course, max(lines - AROUND_LINES, FEWEST_LINES))
    for standing in shown:
        cells = dict(zip(COLUMNS, _row(course, standing, at), strict=True))
        table.add_row(*(cells[column] for column in drawn))
    below = [Text(f"and {len(hidden)} more: {_counted(course, hidden)}")] if hidden else []
    return Group(table, *below, _whole(course, started, at, ending))


def seconds(passed: float) -> str:
    """Return a time as people say it: 8 s, 2 min 05 s."""
    whole = round(passed)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"


def _class(state: str) -> str:
    """Return a state without its particulars; "" for all that is being done."""
    return next((known for known in COLOURS if state.startswith(known)), "")


def _chosen(course: Course, room: int) -> tuple[list[Standing], list[Standing]]:
    everything = list(course.everything())
    if len(everything) <= room:
        return everything, []
    ranked = sorted(everything, key=lambda standing: RANK[_class(course.state(standing))])
    chosen = {standing.name for standing in ranked[:room]}
    return (
        [standing for standing in everything if standing.name in chosen],
        [standing for standing in everything if standing.name not in chosen],
    )


def _counted(course: Course, standings: list[Standing]) -> str:
    states = Counter(_class(course.state(standing)) or "at work" for standing in standings)
    return ", ".join(f"{count} {state}" for state, count in states.most_common())


def _row(course: Course, standing: Standing, at: float) -> tuple[str | Text, ...]:
    state, steps = course.state(standing), course.steps(standing)
    done = len(steps & standing.done.keys())
    colour = COLOURS.get(_class(state), "cyan")
    told: tuple[str | Text, str] = ("", "")
    if standing.name != OWN and steps:
        told = (_bar(done / len(steps), colour), f"{done}/{len(steps)}")
    began = standing.began
    time = "" if began is None else seconds((standing.last if _settled(course, standing) else at) - began)
    left = of_long_step(course, standing, at)
    return (
        escape(standing.name or OWN_NAME),
        Text(state, colour),
        *told,
        time,
        f"about {seconds(left)}" if left is not None else "-" if course.current(standing) and standing.name else "",
    )


def _bar(part: float, colour: str) -> Text:
    full = int(part * BAR_COLUMNS)
    return Text("━" * full, colour) + Text("─" * (BAR_COLUMNS - full), "dim")


def _settled(course: Course, standing: Standing) -> bool:
    return course.over or course.complete(standing) or bool(standing.failed)


def _whole(course: Course, started: float, at: float, ending: bool) -> Text:
    settled = sum(course.complete(standing) for standing in course.standings.values())
    parts = [f"{settled} of {len(course.standings)} machines", seconds(at - started)]
    if ending and course.over:
        parts.append("ended by Ctrl-C; run it again, and it goes on from there")
    elif ending:
        parts.append("ending: what is being made is finished first; Ctrl-C again ends it at once")
    elif course.looking:
        parts.append("looking what is there")
    elif not course.over and (left := of_all(course, at)):
        parts.append(f"about {seconds(left)} left")
    return Text(", ".join(parts))
