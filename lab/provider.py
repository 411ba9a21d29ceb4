"""The lab as the engine sees it: a provider of networks, firewalls and machines.

Property names are the same on the wire, in Python and in the state. Inputs come back as given, so that a secret
stays one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pulumi.provider.experimental import provider as engine
from pulumi.provider.experimental.property_value import PropertyValue, PropertyValueType

from lab import resources
from lab.resources import Identity, Kind
from lab.system import LabError, require

Properties = Mapping[str, PropertyValue]
# How the engine spells a value that a preview cannot know. The SDK's unmarshalling leaves it a string, and its
# marshalling refuses its own `Computed` (pulumi 3.272).
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class Provider(engine.Provider):
    """Translates the engine's requests for lab.resources, each in a thread of its own."""

    async def configure(self, request: engine.ConfigureRequest) -> engine.ConfigureResponse:
        return engine.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def check(self, request: engine.CheckRequest) -> engine.CheckResponse:
        # Here and not in create: its failures are shown without a traceback, and before anything is made.
        kind, values = _kind(request.type), plain(request.new_inputs)
        known = {name: value for name, value in values.items() if not _has_unknown(value)}
        failures = []
        for prove in (require, lambda: kind.check(known)):
            try:
                prove()
            except LabError as error:
                failures.append(engine.CheckFailure("", str(error)))
        return engine.CheckResponse(inputs=dict(request.new_inputs), failures=failures)

    async def diff(self, request: engine.DiffRequest) -> engine.DiffResponse:
        kind, old, new = _kind(request.type), plain(request.old_state), plain(request.new_inputs)
        changed = [name for name in kind.inputs if old.get(name) != new.get(name)]
        changed = [name for name in changed if name not in request.ignore_changes]
        replaces = [name for name in changed if name in kind.replaced_by]
        kinds = engine.PropertyDiffKind
        details = {
            name: engine.PropertyDiff(kinds.UPDATE_REPLACE if name in replaces else kinds.UPDATE, True)
            for name in changed
        }
        # What a refresh found dead is started again; the engine asks for it here, for no input has changed.
        if old.get("running") is False:
            details["running"] = engine.PropertyDiff(kinds.UPDATE, False)
        return engine.DiffResponse(
            changes=bool(details),
            replaces=replaces,
            stables=[] if replaces else list(kind.stable),
            # The successor takes over name and address.
            delete_before_replace=True,
            diffs=list(details),
            detailed_diff=details,
        )

    async def create(self, request: engine.CreateRequest) -> engine.CreateResponse:
        kind = _kind(request.type)
        if request.preview:
            unknown = {name: PropertyValue(UNKNOWN) for name in kind.outputs}
            return engine.CreateResponse(properties={**request.properties, **unknown})
        made, outputs = await _threaded(kind.create, Identity.of(request.urn), plain(request.properties))
        return engine.CreateResponse(made, {**request.properties, **_outputs(outputs)})

    async def read(self, request: engine.ReadRequest) -> engine.ReadResponse:
        kind = _kind(request.type)
        outputs = await _threaded(kind.read, Identity.of(request.urn), request.resource_id)
        if outputs is None:
            return engine.ReadResponse(resource_id="")
        properties = {**request.properties, **_outputs(outputs)}
        return engine.ReadResponse(request.resource_id, properties, dict(request.inputs))

    async def update(self, request: engine.UpdateRequest) -> engine.UpdateResponse:
        kind = _kind(request.type)
        kept = {name: request.olds[name] for name in kind.outputs if name in request.olds}
        if request.preview:
            expected = {"running": PropertyValue(True)} if "running" in kind.outputs else {}
            return engine.UpdateResponse({**kept, **request.news, **expected})
        outputs = await _threaded(kind.update, Identity.of(request.urn), request.resource_id, plain(request.news))
        return engine.UpdateResponse({**kept, **request.news, **_outputs(outputs)})

    async def delete(self, request: engine.DeleteRequest) -> None:
        await _threaded(_kind(request.type).delete, Identity.of(request.urn), request.resource_id)


def plain(properties: Properties) -> dict[str, Any]:
    """Return properties as Python values, secret or not."""
    return {name: _plain(value) for name, value in properties.items()}


def _plain(property_value: PropertyValue) -> Any:
    value = property_value.value
    if property_value.type is PropertyValueType.ARRAY:
        return [_plain(item) for item in value]
    if property_value.type is PropertyValueType.MAP:
        return {name: _plain(item) for name, item in value.items()}
    return value


def _has_unknown(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_unknown, value))
    if isinstance(value, dict):
        return any(map(_has_unknown, value.values()))
    return bool(value == UNKNOWN)


def _outputs(outputs: Mapping[str, str | bool]) -> dict[str, PropertyValue]:
    return {name: PropertyValue(value) for name, value in outputs.items()}


def _kind(type_token: str) -> Kind:
    # Below components the engine's type is a path, "parent$child".
    return resources.KINDS[type_token.rpartition("$")[2]]


class Refused(NotImplementedError):
    """An error that speaks for itself; the SDK's server puts a traceback to every kind but this one's base."""


async def _threaded(operation: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return await asyncio.to_thread(operation, *arguments)
    except LabError as error:
        raise Refused(str(error)) from None
