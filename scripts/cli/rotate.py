"""Gives a key a successor: step by step, each of them one `up`, the stack file saying how far it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.compat import StringIO
from ruamel.yaml.util import load_yaml_guess_indent

from components.model.config import NAMESPACE
from components.model.keys import Generations, Keys
from scripts.cli.edit.changing import write as write_file
from scripts.cli.inventory import Inventory
from scripts.cli.reach import Findings, Observer

KEYS = f"{NAMESPACE}keys"
SETTLE_SECONDS = 120  # a spare that lost its hub tries another at once, and one that failed after up to 22 s
POLL_SECONDS = 1


class NotSettled(Exception):
    """The network is not well after a step; carries what is lacking."""


@dataclass(frozen=True)
class Subject:
    """Whose key it is."""

    place: tuple[str, ...]  # below vcubev:keys: ("authority",), ("hosts", "web-1")
    output: str  # its name in the stack's output `keys`
    told: str
    spreads: bool  # others must accept the new one before it may be used

    def of(self, keys: Keys) -> Generations:
        whole = {"authority": keys.authority, "login": keys.login}
        return whole.get(self.place[0]) or keys.of(self.output)


AUTHORITY = Subject(("authority",), "authority", "the certificate authority", True)
LOGIN = Subject(("login",), "login", "the operator's login key", True)


def host(name: str) -> Subject:
    return Subject(("hosts", name), f"host.{name}", f"host {name}'s key", False)


def hub(key: str) -> Subject:
    return Subject(("hubs", key), f"hub.{key.replace('/', '.')}", f"hub {key}'s key", False)


def steps(subject: Subject, written: Generations, applied: Generations | None) -> Iterator[Generations]:
    """Yield what the stack file must say, one `up` after the other; what it says already where that is to be done.

    Args:
        written: What it says now.
        applied: What the last whole `up` made come true; None if that is not known.
    """
    if len(written) == 1 and applied in (written, None):
        old, new = written[0], written[0] + 1
        if subject.spreads:
            yield old, new
    elif len(written) == 1:
        yield written  # the last step of a rotation that was broken off
        return
    else:
        old, new = sorted(written)
        begun = written == (new, old)
        if not begun and applied != written:
            yield written
        if begun:
            if applied != written:
                yield written
            yield (new,)
            return
    yield new, old
    yield (new,)


def meaning(subject: Subject, generations: Generations) -> str:
    """Say what a step does."""
    if len(generations) == 1:
        return f"only generation {generations[0]} counts"
    used, beside = generations
    if used < beside:
        return f"generation {beside} is accepted beside {used}"
    return f"generation {used} is in use, {beside} is accepted still"


def write(file: Path, subject: Subject, generations: Generations) -> None:
    """Change one list in a stack file; all else in it stays as it is, comments too."""
    text = file.read_text()
    _, _, sequence_indent = load_yaml_guess_indent(text)
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    if sequence_indent is not None:
        yaml.indent(mapping=2, sequence=sequence_indent + 2, offset=sequence_indent)
    written = yaml.load(text)
    entry = written["config"].setdefault(KEYS, CommentedMap())
    *above, last = subject.place
    for part in above:
        entry = entry.setdefault(part, CommentedMap())
    entry[last] = CommentedSeq(generations)
    entry[last].fa.set_flow_style()
    out = StringIO()
    yaml.dump(written, out)
    write_file(file, out.getvalue())


def lacking(hubs: dict[str, Any], hosts: dict[str, Any]) -> list[str]:
    """Return what is not settled yet, of what the agents say."""
    found = []
    for name, state in hubs.items():
        if not (state and state["fit"] and state["sessions"] == state["peers"]):
            found.append(f"hub {name} has {_reasons(state)}")
    for name, state in hosts.items():
        paths = list(state["paths"].values()) if state else []
        well = [path for path in paths if path["alive"] and path["fit"] and not path.get("stale")]
        if len(well) < min(2, len(hubs)) or not state["claimed"]:
            found.append(f"host {name} has {len(well)} good tunnels")
    return found


def _reasons(state: dict[str, Any] | None) -> str:
    if not state:
        return "no agent that answers"
    return ", ".join(state["reasons"]) or f"{state['sessions']} of {state['peers']} links"


async def settle(inventory: Inventory, tell: Callable[[str], None], seconds: float = SETTLE_SECONDS) -> None:
    """Wait until every host has its tunnels with what it was given last.

    Raises:
        NotSettled: It did not come true in time.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    findings = Findings()
    async with Observer(inventory) as observer:
        await observer.connect(findings)
        unreachable = [f"{name} cannot be reached by SSH: {why}" for name, why in findings.unreachable.items()]
        shown = ""
        while True:
            states = await asyncio.gather(
                *(_states(observer, [*inventory.hubs]), _states(observer, [*inventory.hosts]))
            )
            found = [*unreachable, *lacking(*states)]
            if not found:
                return
            if asyncio.get_running_loop().time() > deadline or unreachable:
                raise NotSettled("; ".join(found))
            if (line := "; ".join(found)) != shown:
                tell(f"waiting: {line}")
                shown = line
            await asyncio.sleep(POLL_SECONDS)


async def _states(observer: Observer, names: list[str]) -> dict[str, Any]:
    asked = [name for name in names if name in observer.connections]
    states = await asyncio.gather(*(observer.state(name) for name in asked))
    return dict(zip(asked, states, strict=True))
