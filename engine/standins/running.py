"""One run of a command: what goes in, what came out, and what may be shown of it."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .properties import Failure

HIDDEN = "[secret]"
# A shorter text would be found by chance in harmless output ("no" in "not found").
SHORTEST_SECRET = 4
# Lines of a longer secret (a PEM key) are hidden one by one; a shorter line is no secret by itself ("}").
SHORTEST_SECRET_LINE = 8


@dataclass(frozen=True)
class Run:
    """A command and what it gets.

    Attributes:
        environment: asked for by the user; must reach the process or the run fails.
        previous: PULUMI_COMMAND_STDOUT and _STDERR; may be refused by the other side.
        secrets: texts that no error and no log line may show.
        show: takes each line of the streams named in `logged` ("stdout", "stderr").
    """

    command: str
    stdin: str
    environment: dict[str, str]
    previous: dict[str, str]
    secrets: tuple[str, ...]
    logged: frozenset[str]
    show: Callable[[str], None]
    warn: Callable[[str], None]


@dataclass
class Capture:
    """Collects the output of one run, and shows it line by line as it comes."""

    run: Run
    streams: dict[str, list[str]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    both: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A character may be cut in two by the network.
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in self.streams}
        self._pending = dict.fromkeys(self.streams, "")

    def feed(self, stream: str, chunk: bytes, last: bool = False) -> None:
        text = self._decoders[stream].decode(chunk, last)
        self.streams[stream].append(text)
        self.both.append(text)
        if stream not in self.run.logged:
            return
        *lines, self._pending[stream] = (self._pending[stream] + text).split("\n")
        if last and self._pending[stream]:
            lines.append(self._pending[stream])
        for line in lines:
            self.run.show(hide(line, self.run.secrets))

    def finish(self) -> None:
        for stream in self.streams:
            self.feed(stream, b"", last=True)

    def text(self, stream: str) -> str:
        """Return a stream less one line end, as the official plugin stores it."""
        return "".join(self.streams[stream]).removesuffix("\n")

    def failure(self, reason: str) -> Failure:
        """Word an error as the official plugin does, less stdin and secrets (which it would print)."""
        command = json.dumps(hide(self.run.command, self.run.secrets), ensure_ascii=False)
        return Failure(f"{reason}: running {command}:\n{hide(''.join(self.both), self.run.secrets)}")


def hide(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in `text`, and every line of one, by a mark."""
    pieces = set()
    for secret in secrets:
        if len(secret.strip()) >= SHORTEST_SECRET:
            pieces.add(secret.strip())
        pieces |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= SHORTEST_SECRET_LINE}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, HIDDEN)
    return text
