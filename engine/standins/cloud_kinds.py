"""What the stand-ins of clouds have in common: checks by the SDK's schema, diffs by a table, secrets passed through."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.provider.experimental import provider as p
from pulumi.provider.experimental.property_value import PropertyValue

from . import sdk_schema
from .awaiting import within
from .engine_log import EngineLog
from .properties import (
    Failure,
    Properties,
    changed_paths,
    drop_nulls,
    has_unknown,
    plain,
    property_diffs,
    to_property,
    top_level,
    unknown,
)

Plain = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One resource type: which properties are translated, what a change of each does, and the calls.

    `api` is the cloud's client; inputs and state come as plain Python, numbers that are whole as int.
    """

    resource: str  # the SDK's class, "pulumi_aws.ec2.vpc:Vpc"
    create: Callable[[Any, Plain], str]  # -> id
    read: Callable[[Any, str, Plain], Plain | None]  # -> outputs; None: it is gone
    delete: Callable[[Any, str, Plain], None]
    update: Callable[[Any, str, Plain, Plain, set[str]], None] | None = None  # id, state, inputs, changed names
    in_place: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()  # inputs that the cloud chooses if the program does not
    filled_in: frozenset[str] = frozenset()  # inputs that the cloud completes with what a preview cannot know
    defaults: Mapping[str, Any] = None  # type: ignore[assignment]
    unordered: frozenset[str] = frozenset()
    autoname: str = ""  # input that the official plugin makes from the resource's name
    delete_first: bool = False
    choices: Mapping[str, Callable[[Any], tuple[str, ...]]] = None  # type: ignore[assignment]

    @property
    def handled(self) -> frozenset[str]:
        return self.in_place | self.replaces


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class CloudProvider(p.Provider):
    """Translates the engine's requests to one cloud's API; each in a thread of its own."""

    plugin: str
    kinds: Mapping[str, Kind]

    def __init__(self, log: EngineLog | None = None) -> None:
        self.log = log or EngineLog()

    def api(self, inputs: Plain) -> Any:
        """Return the client with which a resource of these inputs (or this state) is made."""
        raise NotImplementedError

    def with_defaults(self, kind: Kind, inputs: Properties) -> Properties:
        """Fill in what the schema defaults to; the engine never sees these as inputs."""
        defaults = {name: to_property(value) for name, value in (kind.defaults or {}).items()}
        return {**defaults, **drop_nulls(inputs)}

    async def check(self, request: p.CheckRequest) -> p.CheckResponse:
        kind, inputs = self._kind(request.type), drop_nulls(request.new_inputs)
        if kind.autoname and kind.autoname not in inputs and f"{kind.autoname}Prefix" not in inputs:
            kept = request.old_inputs.get(kind.autoname)
            suffix = request.random_seed.hex()[:7] or secrets.token_hex(4)[:7]
            inputs[kind.autoname] = kept or PropertyValue(f"{request.urn.rpartition('::')[2]}-{suffix}")
        failures = [p.CheckFailure(path, said) for path, said in sdk_schema.problems(kind.resource, inputs)]
        # What is not translated must not look as if it were.
        for name in inputs.keys() - kind.handled - {f.property for f in failures}:
            failures.append(p.CheckFailure(name, f"'{name}' is not in the stand-in for the {self.plugin} plugin"))
        for path, allowed in (kind.choices or {}).items():
            value = _at(inputs, path)
            if isinstance(value, str) and value not in (known := allowed(self.api({}))):
                failures.append(p.CheckFailure(path, f"expected {path} to be one of {list(known)}, got {value}"))
        return p.CheckResponse(inputs, failures)

    async def diff(self, request: p.DiffRequest) -> p.DiffResponse:
        kind = self._kind(request.type)
        new, state = self.with_defaults(kind, request.new_inputs), request.old_state
        for path in request.ignore_changes:
            new.pop(top_level(path), None)
            state = {name: value for name, value in state.items() if name != top_level(path)}
        old, wanted = _comparable(kind, state, new)
        paths = changed_paths(old, wanted)
        paths |= self.more_changes(kind, state, new)
        detailed, replaced = property_diffs(paths, self.replaced(kind, wanted))
        diffs = list(dict.fromkeys(top_level(path) for path in paths))
        return p.DiffResponse(
            bool(detailed), replaced, diffs=diffs, detailed_diff=detailed, delete_before_replace=kind.delete_first
        )

    def replaced(self, kind: Kind, inputs: Properties) -> frozenset[str]:
        return kind.replaces

    def more_changes(self, kind: Kind, state: Properties, inputs: Properties) -> dict[str, p.PropertyDiffKind]:
        return {}

    async def create(self, request: p.CreateRequest) -> p.CreateResponse:
        kind = self._kind(request.type)
        inputs = self.with_defaults(kind, request.properties)
        if request.preview:
            own = sdk_schema.outputs_of(kind.resource) - sdk_schema.inputs_of(kind.resource).keys()
            awaited = {name: unknown() for name in own | kind.computed if name not in inputs}
            awaited |= {name: unknown() for name in kind.filled_in if name in inputs}
            return p.CreateResponse(None, {**inputs, **awaited})
        values = number(plain(to_property(inputs)))

        def make() -> tuple[str, Plain]:
            api = self.api(values)
            with within(request.timeout):
                made = kind.create(api, values)
            try:
                outputs = kind.read(api, made, values)
                if outputs is None:
                    raise Failure(f"{kind.resource.rpartition(':')[2]} {made} was gone as soon as it was made")
            except BaseException:
                # Nothing would know of it: the engine keeps no id of a create that failed.
                kind.delete(api, made, values)
                raise
            return made, outputs

        made, outputs = await self._threaded(make)
        return p.CreateResponse(made, self._state(inputs, made, outputs))

    async def read(self, request: p.ReadRequest) -> p.ReadResponse:
        kind, state = self._kind(request.type), number(plain(to_property(request.properties)))
        outputs = await self._threaded(lambda: kind.read(self.api(state), request.resource_id, state))
        if outputs is None:
            return p.ReadResponse(resource_id="")
        merged = self._state(request.properties, request.resource_id, outputs)
        inputs = {name: _as_given(merged.get(name, value), value) for name, value in request.inputs.items()}
        return p.ReadResponse(request.resource_id, merged, inputs)

    async def update(self, request: p.UpdateRequest) -> p.UpdateResponse:
        kind = self._kind(request.type)
        news = self.with_defaults(kind, request.news)
        for name in map(top_level, request.ignore_changes):
            news.pop(name, None)
            news |= {name: request.olds[name]} if name in request.olds else {}
        kept = {name: v for name, v in request.olds.items() if name not in kind.handled or name in kind.computed}
        if request.preview:
            known = {name: request.olds[name] for name in kind.filled_in & request.olds.keys()}
            return p.UpdateResponse({**kept, **news, **known})
        values, state = number(plain(to_property(news))), number(plain(to_property(request.olds)))
        changed = {top_level(path) for path in changed_paths(*_comparable(kind, request.olds, news))}

        def change() -> Plain:
            api = self.api(values)
            if kind.update is None:
                raise Failure(f"{kind.resource.rpartition(':')[2]} cannot be changed in place")
            with within(request.timeout):
                kind.update(api, request.resource_id, state, values, changed)
            return kind.read(api, request.resource_id, {**state, **values}) or {}

        outputs = await self._threaded(change)
        return p.UpdateResponse(self._state({**kept, **news}, request.resource_id, outputs))

    async def delete(self, request: p.DeleteRequest) -> None:
        kind, state = self._kind(request.type), number(plain(to_property(request.properties)))
        await self._threaded(lambda: kind.delete(self.api(state), request.resource_id, state))

    def _state(self, inputs: Properties, made: str, outputs: Plain) -> Properties:
        """Join inputs and outputs; what came in secret stays so, under whatever form the cloud gives it back."""
        given = {name: value for name, value in inputs.items() if name != "id"}
        found = {name: to_property(value) for name, value in {**outputs, "id": made}.items() if value is not None}
        for name, value in found.items():
            if name in given and _is_secret(given[name]):
                found[name] = value.with_secret(True)
        return {**given, **found}

    def _kind(self, type_path: str) -> Kind:
        resource_type = type_path.rpartition("$")[2]  # below components it is "parent$child"
        if resource_type not in self.kinds:
            known = ", ".join(self.kinds)
            raise Failure(f"{resource_type} is not in the stand-in for the {self.plugin} plugin (it has: {known})")
        return self.kinds[resource_type]

    async def _threaded(self, work: Callable[[], Any]) -> Any:
        try:
            return await asyncio.to_thread(work)
        except Failure:
            raise
        except Exception as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> Exception:
        """Turn a client's exception into what the user reads; others are bugs and pass."""
        return error


def _comparable(kind: Kind, state: Properties, inputs: Properties) -> tuple[Properties, Properties]:
    """Return old and new values of what is translated: of the old only what the program has a say in."""
    new = {name: inputs[name] for name in kind.handled & inputs.keys()}
    old: Properties = {}
    for name in kind.handled & state.keys():
        if name in new:
            old[name] = _as_given(state[name], new[name])
        elif name not in kind.computed and plain(state[name]) not in (None, "", [], {}, False):
            old[name] = state[name]
    for name in kind.unordered:
        for side in (old, new):
            if name in side and not has_unknown(side[name]) and isinstance(side[name].value, tuple):
                items = sorted(side[name].value, key=lambda item: json.dumps(plain(item), sort_keys=True))
                side[name] = PropertyValue(items, is_secret=side[name].is_secret)
    return old, new


def number(value: Any) -> Any:
    """Turn the engine's floats into int where they are whole, for clients that refuse 443.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: number(item) for key, item in value.items()}
    return [number(item) for item in value] if isinstance(value, list) else value


def _as_given(held: PropertyValue, given: PropertyValue) -> PropertyValue:
    """Return of an object only what the program gave: the cloud fills in the rest by itself."""
    if isinstance(held.value, Mapping) and isinstance(given.value, Mapping):
        kept = {key: _as_given(held.value[key], item) for key, item in given.value.items() if key in held.value}
        return PropertyValue(kept, is_secret=held.is_secret)
    if isinstance(held.value, tuple) and isinstance(given.value, tuple) and len(held.value) == len(given.value):
        kept = [_as_given(one, other) for one, other in zip(held.value, given.value, strict=True)]
        return PropertyValue(kept, is_secret=held.is_secret)
    return held


def _is_secret(value: PropertyValue) -> bool:
    children = value.value.values() if isinstance(value.value, Mapping) else value.value
    if value.is_secret:
        return True
    return isinstance(children, tuple | type({}.values())) and any(map(_is_secret, children))


def _at(inputs: Properties, path: str) -> Any:
    name, _, rest = path.partition(".")
    value = inputs.get(name)
    if value is None:
        return None
    if rest:
        return _at(dict(value.value), rest) if isinstance(value.value, Mapping) else None
    return None if has_unknown(value) else value.value
