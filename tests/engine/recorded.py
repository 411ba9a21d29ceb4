"""Records what a real engine says in the course of its runs, for tests of what is shown of it.

With the engine on PATH (scripts/setup.sh: ensure_environment, ensure_engine): python3 -m tests.engine.recorded
"""

import gzip
import json
import tempfile
import time
from pathlib import Path

from pulumi.automation import EngineEvent
from rich.console import Console

from components.clouds import known_clouds
from components.model.stackfile import load_file
from scripts.cli.progress import following
from scripts.cli.progress.plan import Plan
from tests.engine.kept import Kept

PLACE = Path(__file__).parents[1] / "scripts" / "events"
STACK = "kept"
UP, DOWN = ("up", "--yes", "--skip-preview"), ("destroy", "--yes", "--skip-preview")


def listened(monkeypatched=None):
    """Let `following` keep each event as it came; return the list that fills: (seconds, text)."""
    heard, inner, began = [], following._hear, time.monotonic()

    def keep(course, event_class, text):
        heard.append((round(time.monotonic() - began, 2), text))
        inner(course, event_class, text)

    if monkeypatched:
        monkeypatched.setattr(following, "_hear", keep)
    else:
        following._hear = keep
    return heard


def follow(tree, console, command=UP, **more):
    """Run the engine in a tree, and show it on a console; raises what `following.follow` does."""
    tree.in_shell("true")
    state = tree.backend
    environment = {
        **tree._shell,
        "PULUMI_BACKEND_URL": f"file://{state / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(state / "passphrase"),
        **more,
    }
    plan = Plan.of(tree.stack, load_file(tree.file, known_clouds()))
    following.follow(
        ["pulumi", *command, "-s", tree.stack, "--suppress-outputs"], tree.tree, environment, plan, console
    )


def prepared(directory):
    """Return a tree whose stack is known to the engine, and empty."""
    tree = Kept(directory, STACK)
    done = tree.in_shell("python3", "-c", f"from scripts.cli.stack import Stack; Stack('{STACK}').prepare()")
    assert done.returncode == 0, done.stderr
    return tree


def write(name, heard):
    """Keep the events, without the resources' own values: what is shown must not come from them."""
    lines = [json.dumps([at, slim(json.loads(text))]) for at, text in heard if '"severity":"debug"' not in text]
    (PLACE / f"{name}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def slim(event):
    for part in event.values():
        if isinstance(part, dict) and "metadata" in part:
            told = part["metadata"]
            part["metadata"] = {key: told[key] for key in ("op", "urn", "type", "provider")} | {
                age: {"parent": told[age].get("parent", "")} for age in ("old", "new") if told.get(age)
            }
    event.pop("preludeEvent", None)
    return event


def read(name):
    """Return a recording: (seconds, event)."""
    lines = gzip.decompress((PLACE / f"{name}.jsonl.gz").read_bytes()).decode().splitlines()
    return [(at, EngineEvent.from_json(event)) for at, event in map(json.loads, lines)]


def another(config):
    """Take one host out of a stack, and write down two, of which one is private."""
    paris = config["vcubev:sites"]["paris"]["hosts"]
    del paris["web-2"]
    paris["web-3"] = {"role": "web", "id": 3}
    paris["web-4"] = {"role": "web", "id": 4, "private": True}


def main():
    with tempfile.TemporaryDirectory() as directory:
        following.cache_file = lambda: Path(directory) / "durations.json"
        tree, console = prepared(Path(directory)), Console()
        for name, command, fails in (("broken", UP, f"{STACK}-web-1-install"), ("another", UP, ""), ("down", DOWN, "")):
            if name == "another":
                tree.edit(another)
            heard = listened()
            try:
                follow(tree, console, command, BENCH_SECONDS="1", BENCH_FAILS=fails)
            except following.NotDone:
                assert fails
            write(name, heard)


if __name__ == "__main__":
    main()
