"""Runs the engine, and shows on the terminal how far it has come.

By the Automation API's events: the engine sends them to a port of this process (`--event-log tcp://`), as it does for
`pulumi.automation`, and no file of them lies about. They hold resources' states, with secrets as "[secret]". Why not by
its `Stack.up` itself: docs/adr/0014-progress.md.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from scripts.cli.progress.course import Course, Told
from scripts.cli.progress.display import OWN_NAME, Display
from scripts.cli.progress.durations import Durations, cache_file
from scripts.cli.progress.interrupting import engine_ends_first
from scripts.cli.progress.plan import Plan

PICTURES_A_SECOND = 2
LAST_EVENTS_SECONDS = 5  # for those that are under way when the engine has ended
SEVERE = {"error": "red", "mandatory": "red", "warning": "yellow", "advisory": "yellow"}
STAND_INS = "/engine/standins/bin/"  # `up` has said so already


class NotDone(Exception):
    """The engine ended with an error, of which the user has been told."""


def can_show(console: Console) -> bool:
    """Tell whether there is a terminal that can draw anew what it has drawn. Colours may be asked for in a pipe."""
    return console.file.isatty() and not console.is_dumb_terminal


def follow(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], plan: Plan, console: Console
) -> None:
    """Run an engine command that asks nothing, and show how far it has come.

    Ctrl-C reaches the engine as well, and this waits for its end.

    Raises:
        NotDone: The engine ended with an error.
        KeyboardInterrupt: Ctrl-C has ended it.
    """
    durations = Durations.read(cache_file())
    course = Course(plan, durations, destroys="destroy" in command)
    display = Display(course, time.monotonic)
    # Not a pipe: whoever kills us must not kill the engine by its next line.
    with tempfile.TemporaryFile("w+") as said:
        try:
            with engine_ends_first(display.end):
                code = _run(command, directory, environment, course, display, console, said)
        finally:
            durations.write(cache_file())
            _tell(console, course.told)
        if not code:
            return
        if not any(told.severity == "error" for told in course.told):
            said.seek(0)
            console.print(said.read().strip(), highlight=False, markup=False, soft_wrap=True)
        raise NotDone


def _run(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    course: Course,
    display: Display,
    console: Console,
    said: IO[str],
) -> int:
    """Return the engine's exit code; what it prints goes to `said`."""
    own = {**environment, "PULUMI_DEBUG_COMMANDS": "true"}  # else there is no --event-log
    live = Live(display, console=console, refresh_per_second=PICTURES_A_SECOND)
    with _listening(course, display) as address, live:
        whole = [*command, "--event-log", f"tcp://{address}", "--non-interactive", "--color", "never"]
        done = subprocess.run(whole, cwd=directory, env=own, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        with display.lock:
            course.over = True
        # A table of machines to which nothing was done says nothing.
        live.transient = not any(one.changed or one.failed or one.began for one in course.everything())
    return done.returncode


@contextmanager
def _listening(course: Course, display: Display) -> Iterator[str]:
    """Let a course hear the engine's events; yield the address that they are to be sent to."""
    import grpc
    from google.protobuf import empty_pb2
    from pulumi.automation import EngineEvent
    from pulumi.runtime.proto import events_pb2_grpc

    class Listener(events_pb2_grpc.EventsServicer):
        def StreamEvents(self, requests: Any, context: Any) -> Any:  # the engine's name
            for request in requests:
                with display.lock:
                    _hear(course, EngineEvent, request.event)
            return empty_pb2.Empty()

    server = grpc.server(ThreadPoolExecutor(max_workers=1), options=[("grpc.max_receive_message_length", -1)])
    events_pb2_grpc.add_EventsServicer_to_server(Listener(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(LAST_EVENTS_SECONDS).wait()


def _hear(course: Course, event_class: Any, text: str) -> None:
    """Take an event. One that is not understood, of a newer engine, costs a line on the screen and no `up`."""
    try:
        course.take(event_class.from_json(json.loads(text)), time.monotonic())
    except (ValueError, TypeError, KeyError, AttributeError):
        return


def _tell(console: Console, told: Sequence[Told]) -> None:
    """Show in full what the engine has to say; what is wrong comes last, next to the eye."""
    for one in sorted(told, key=lambda one: one.severity in ("error", "mandatory")):
        if STAND_INS in one.text:
            continue
        name = escape(one.owner or OWN_NAME)
        console.print(f"[{SEVERE.get(one.severity, 'bold')}]{name}[/]: ", end="", highlight=False)
        console.print(one.text, highlight=False, markup=False, soft_wrap=True)
