"""Commands on this computer, as the official `command:local:Command` runs them.

Source: pulumi-command v1.2.1 provider/pkg/provider/local/commandOutputs.go, and github.com/gobwas/glob for patterns.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
from pathlib import Path
from typing import Any

from .properties import ARCHIVE, ASSET, KIND_KEY, Failure
from .running import Capture, Run

DEFAULT_INTERPRETER = ("/bin/sh", "-c")
READ_BYTES = 64 * 1024


async def run_local(run: Run, interpreter: list[str], directory: str) -> Capture:
    """Run one command to its end; a cancelled one is killed with all it started.

    Raises:
        Failure: it cannot be started, or did not exit with status 0.
    """
    capture = Capture(run)
    words = [*(interpreter or DEFAULT_INTERPRETER), run.command]
    try:
        process = await _started(words, directory, {**os.environ, **run.environment, **run.previous})
    except OSError as error:
        raise capture.failure(str(error)) from None
    try:
        await asyncio.gather(
            _write(process.stdin, run.stdin.encode()),
            _read(process.stdout, "stdout", capture),
            _read(process.stderr, "stderr", capture),
        )
        status = await process.wait()
    except asyncio.CancelledError:
        await _kill(process)
        raise
    capture.finish()
    if status < 0:
        raise capture.failure(f"signal: {signal.strsignal(-status)}")
    if status:
        raise capture.failure(f"exit status {status}")
    return capture


async def _started(words: list[str], directory: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=directory, env=environment, start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled half way, asyncio kills the shell alone and waits for what that has started by then.
        await _kill(await starting)
        raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _write(stream: Any, stdin: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a command need not read all
        stream.write(stdin)
        await stream.drain()
    stream.close()


async def _read(stream: Any, name: str, capture: Capture) -> None:
    while chunk := await stream.read(READ_BYTES):
        capture.feed(name, chunk)


def found_assets(directory: str, patterns: list[str]) -> dict[str, Any]:
    """Return the files that `patterns` pick, path below `directory` -> asset; "!" patterns take away, in order."""
    rules = [(pattern.startswith("!"), glob_pattern(pattern.removeprefix("!"))) for pattern in patterns]
    found: dict[str, Any] = {}
    for folder, subfolders, names in os.walk(directory):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            path = file.relative_to(directory).as_posix()
            for takes_away, rule in rules:
                if not rule.fullmatch(path):
                    continue
                if takes_away:
                    found.pop(path, None)
                else:
                    found[path] = _file_asset(os.path.join(directory, path))
    return found


def found_archive(directory: str, patterns: list[str]) -> dict[str, Any]:
    # Without a hash: the engine computes it, from a tar of the files.
    return {KIND_KEY: ARCHIVE, "assets": found_assets(directory, patterns)}


def restored(given: dict[str, Any]) -> dict[str, Any]:
    """Return the found assets and archive of a state again, with their paths.

    The engine sends old assets with nothing but their hash, and puts the paths back only where an input has the same
    asset. With the official plugin a refresh leaves such a stack unreadable ("Invalid asset encountered").
    """
    directory, again = directory_of(given), {}
    if "assets" in given:
        again["assets"] = {
            path: {**asset, "path": os.path.join(directory, path)} for path, asset in given["assets"].items()
        }
    if "archive" in given:
        again["archive"] = found_archive(directory, given.get("archivePaths") or [])
    return again


def directory_of(given: dict[str, Any]) -> str:
    return given.get("dir") or os.getcwd()  # the engine starts plugins in the program's directory


def _file_asset(path: str) -> dict[str, str]:
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise Failure(f"failed to open asset file: {error}") from None
    return {KIND_KEY: ASSET, "path": path, "hash": digest}


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Translate a gobwas glob: `*` and `?` stop at "/", `**` does not; `[a-c]`, `[!a]`, `{one,two}` and `\\x`."""
    out, depth, index = "", 0, 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**", index):
            out, index = out + ".*", index + 1
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and "]" in pattern[index:]:
            end = pattern.index("]", index)
            inside = pattern[index + 1 : end].replace("\\", "\\\\")
            out, index = out + "[" + ("^" + inside[1:] if inside.startswith("!") else inside) + "]", end
        elif char == "{":
            out, depth = out + "(?:", depth + 1
        elif char == "}" and depth:
            out, depth = out + ")", depth - 1
        elif char == "," and depth:
            out += "|"
        elif char == "\\" and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += re.escape(char)
        index += 1
    try:
        return re.compile(out, re.DOTALL)
    except re.error as error:
        raise Failure(f"pattern {pattern!r}: {error}") from None
