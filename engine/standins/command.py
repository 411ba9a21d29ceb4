"""The `command` stand-in: local.Command, remote.Command and remote.CopyToRemote.

A changed input runs `update`, or `create` where there is none; a changed trigger replaces; nothing is read back.
`stdout` and `stderr` are as plain as the official plugin leaves them, whatever the inputs: name them in
`additional_secret_outputs`. Where this differs on purpose:

* An error names the command and its output, as the official one, but hides stdin and every secret in them.
* A wrong host key fails at once, and `perDialTimeout` covers the SSH handshake too (see `ssh`).
* Cancel ends running remote commands too; the official plugin leaves them to run.

Not here: remote.CopyFile (deprecated) and the function local.run.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
from collections.abc import Coroutine
from functools import partial
from typing import Any

from pulumi.provider.experimental import provider as p
from pulumi.provider.experimental.property_value import PropertyValue

from .command_inputs import COPY, INPUTS, LOCAL, check_inputs
from .engine_log import EngineLog
from .properties import (
    Failure,
    Properties,
    changed_paths,
    drop_nulls,
    plain,
    property_diffs,
    secret_texts,
    to_property,
    top_level,
    unknown,
)
from .running import Capture, Run

REPLACES = frozenset({"triggers"})
OUTPUT_VARIABLES = {"PULUMI_COMMAND_STDOUT": "stdout", "PULUMI_COMMAND_STDERR": "stderr"}
LOGGED = {"stdout": {"stdout"}, "stderr": {"stderr"}, "none": set()}


class CommandProvider(p.Provider):
    """Runs commands; many at once, each a task of its own."""

    def __init__(self, log: EngineLog | None = None) -> None:
        self._log = log or EngineLog()
        self._running: set[asyncio.Task[Any]] = set()
        self._cancelled = False

    async def configure(self, request: p.ConfigureRequest) -> p.ConfigureResponse:
        # Output values and resource references would need more than PropertyValue can unmarshal.
        return p.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def diff_config(self, request: p.DiffRequest) -> p.DiffResponse:
        return p.DiffResponse(changes=False)

    async def check(self, request: p.CheckRequest) -> p.CheckResponse:
        return p.CheckResponse(*check_inputs(_known(request.type), request.new_inputs))

    async def diff(self, request: p.DiffRequest) -> p.DiffResponse:
        names = INPUTS[_known(request.type)]
        new, state = dict(request.new_inputs), request.old_state
        for path in request.ignore_changes:  # the official plugin, too, knows whole properties here only
            if path in state:
                new[path] = state[path]
        old = {name: state[name] for name in names if name in state}
        new = {name: value for name, value in new.items() if name in names}
        detailed, replaced = property_diffs(changed_paths(old, new), REPLACES)
        diffs = list(dict.fromkeys(top_level(path) for path in detailed))
        return p.DiffResponse(bool(detailed), replaced, diffs=diffs, detailed_diff=detailed)

    async def create(self, request: p.CreateRequest) -> p.CreateResponse:
        resource_type, inputs = _known(request.type), dict(request.properties)
        copies = resource_type == COPY
        if request.preview:
            return p.CreateResponse(None, inputs if copies else inputs | _unknown_outputs())
        if copies:
            await self._guarded(self._copy(request.urn, inputs), request.timeout)
            return p.CreateResponse(_new_id(""), inputs)
        state = inputs | {"stdout": to_property(""), "stderr": to_property("")}
        outputs = await self._guarded(self._run(request.urn, resource_type, state, ("create",)), request.timeout)
        return p.CreateResponse(_new_id(request.name), outputs)

    async def read(self, request: p.ReadRequest) -> p.ReadResponse:
        """Return what the state holds: a command cannot be read back."""
        outputs = dict(request.properties)
        if request.type == LOCAL and {"assets", "archive"} & outputs.keys():
            local_run = importlib.import_module("engine.standins.local_run")
            outputs |= {k: to_property(v) for k, v in local_run.restored(plain(PropertyValue(outputs))).items()}
        return p.ReadResponse(request.resource_id, outputs, request.inputs)

    async def update(self, request: p.UpdateRequest) -> p.UpdateResponse:
        resource_type, news = _known(request.type), dict(request.news)
        for path in request.ignore_changes:
            if path in request.olds:
                news[path] = request.olds[path]
        if resource_type == COPY:
            changed = {top_level(path) for path in changed_paths(request.olds, news)}
            if not request.preview and changed & {"source", "remotePath"}:
                await self._guarded(self._copy(request.urn, news), request.timeout)
            return p.UpdateResponse(news)
        if request.preview:
            return p.UpdateResponse(news | _unknown_outputs())
        state = news | {name: request.olds[name] for name in ("stdout", "stderr") if name in request.olds}
        commands = ("update", "create")
        outputs = await self._guarded(self._run(request.urn, resource_type, state, commands), request.timeout)
        return p.UpdateResponse(outputs)

    async def delete(self, request: p.DeleteRequest) -> None:
        resource_type = _known(request.type)
        if resource_type != COPY:  # what was copied stays, as official
            run = self._run(request.urn, resource_type, dict(request.properties), ("delete",))
            await self._guarded(run, request.timeout)

    async def invoke(self, request: p.InvokeRequest) -> p.InvokeResponse:
        raise Failure(f"{request.tok} is not in the stand-in for the command plugin; use the official plugin")

    async def cancel(self) -> None:
        """End what runs and refuse what comes: the user pressed Ctrl-C."""
        self._cancelled = True
        for task in self._running:
            task.cancel()

    async def _guarded(self, work: Coroutine[Any, Any, Any], timeout_seconds: float) -> Any:
        if self._cancelled:
            work.close()
            raise Failure("context canceled")
        task = asyncio.create_task(work)
        self._running.add(task)
        try:
            async with asyncio.timeout(timeout_seconds or None):
                return await task
        except TimeoutError:
            raise Failure(f"the command did not end within its custom timeout of {timeout_seconds:g} s") from None
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            raise Failure("context canceled") from None
        finally:
            self._running.discard(task)

    async def _run(self, urn: str, resource_type: str, state: Properties, commands: tuple[str, ...]) -> Properties:
        """Run the first of `commands` that the state holds; return the state with what came out."""
        given = plain(PropertyValue(state))
        command = next((given[name] for name in commands if given.get(name) is not None), None)
        if command is None:
            return state
        run = self._prepared(urn, command, state, given)
        if resource_type == LOCAL:
            return state | await _run_local(run, given)
        # asyncssh takes 0.7 s to import: only where something runs, and not in the way of other requests.
        ssh = await asyncio.to_thread(importlib.import_module, "engine.standins.ssh")
        return state | _texts(await ssh.run_remote(given["connection"], run))

    def _prepared(self, urn: str, command: str, state: Properties, given: dict[str, Any]) -> Run:
        previous = {}
        if given.get("addPreviousOutputInEnv", True):
            previous = {variable: given[name] for variable, name in OUTPUT_VARIABLES.items() if given.get(name)}
        return Run(
            command=command,
            stdin=given.get("stdin") or "",
            environment=given.get("environment") or {},
            previous=previous,
            secrets=_secrets(state),
            logged=frozenset(LOGGED.get(given.get("logging", ""), {"stdout", "stderr"})),
            show=partial(self._log.status, urn),
            warn=partial(self._log.warn, urn),
        )

    async def _copy(self, urn: str, inputs: Properties) -> None:
        given = plain(PropertyValue(inputs))
        copying = await asyncio.to_thread(importlib.import_module, "engine.standins.copying")
        show = partial(self._log.status, urn)
        await copying.copy_to_remote(given["connection"], given["source"], given["remotePath"], show)


async def _run_local(run: Run, given: dict[str, Any]) -> Properties:
    local_run = importlib.import_module("engine.standins.local_run")
    directory = local_run.directory_of(given)
    outputs = _texts(await local_run.run_local(run, given.get("interpreter") or [], directory))
    if given.get("assetPaths") is not None:
        outputs["assets"] = to_property(local_run.found_assets(directory, given["assetPaths"]))
    if given.get("archivePaths") is not None:
        outputs["archive"] = to_property(local_run.found_archive(directory, given["archivePaths"]))
    return outputs


def _texts(capture: Capture) -> Properties:
    return {name: to_property(capture.text(name)) for name in ("stdout", "stderr")}


def _unknown_outputs() -> Properties:
    return {"stdout": unknown(), "stderr": unknown()}


def _secrets(state: Properties) -> tuple[str, ...]:
    """Return the texts that nobody may be shown: stdin, what is marked secret, and how to log in."""
    texts = [plain(state["stdin"])] if "stdin" in drop_nulls(state) else []
    for name, value in state.items():
        if name == "connection":  # wholly secret in the state, but its host and user belong in an error
            texts += [text for _, child in _members(value) for text in secret_texts(child)]
        else:
            texts += secret_texts(value)
    return tuple(texts)


def _members(value: PropertyValue) -> list[tuple[str, PropertyValue]]:
    return list(value.value.items()) if hasattr(value.value, "items") else []


def _new_id(name: str) -> str:
    return name + secrets.token_hex(4)  # official: resource.NewUniqueHex(name, 8, 0)


def _known(type_path: str) -> str:
    resource_type = type_path.rpartition("$")[2]  # below components it is "parent$child"
    if resource_type not in INPUTS:
        raise Failure(f"{resource_type} is not in the stand-in for the command plugin (it has: {', '.join(INPUTS)})")
    return resource_type
