"""What a resource takes, read from the SDK package that the program itself imports: names, types, what is required.

The SDK is generated from the official plugin's schema, so a property that it does not know, the plugin does not know.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, get_args, get_origin

from pulumi import _types
from pulumi.provider.experimental.property_value import PropertyValue

from .properties import is_unknown

PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number"}


@cache
def inputs_of(resource: str) -> dict[str, Any]:
    """Return the types of a resource's inputs by the names on the wire; `resource` as "pulumi_aws.ec2.vpc:Vpc"."""
    return _types.input_type_types(_class(resource, "{}Args"))


@cache
def outputs_of(resource: str) -> frozenset[str]:
    """Return the names of all that the state of a resource holds, its inputs among them."""
    return frozenset(_types.input_type_types(_class(resource, "_{}State")))


@cache
def function_inputs(function: str) -> frozenset[str]:
    """Return the names that an invoke takes on the wire; `function` as "pulumi_aws.ec2.get_ami:get_ami"."""
    module, _, name = function.partition(":")
    names = inspect.signature(inspect.unwrap(getattr(import_module(module), name))).parameters
    return frozenset(_camel(parameter) for parameter in names if parameter != "opts")


def problems(resource: str, values: Mapping[str, PropertyValue]) -> Iterator[tuple[str, str]]:
    """Yield path and reason for all that the official plugin's schema would refuse; unknown values pass."""
    for name in _required(_class(resource, "{}Args")):
        if name not in values:
            yield name, f"Missing required property '{name}'"
    yield from _object_problems("", inputs_of(resource), values)


def state_problems(resource: str, state: Mapping[str, PropertyValue]) -> list[tuple[str, str]]:
    """Return what of a state the SDK could not read back; what names that are not in it mean, it never asks."""
    types = _types.input_type_types(_class(resource, "_{}State"))
    return list(_object_problems("", types, {name: value for name, value in state.items() if name in types}))


def _object_problems(
    path: str, types: Mapping[str, Any], values: Mapping[str, PropertyValue]
) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if name not in types:
            yield f"{path}{name}", f"Unexpected property '{path}{name}': the SDK's schema has none of that name"
        elif not is_unknown(value) and value.value is not None:
            yield from _problems(f"{path}{name}", types[name], value)


def _problems(path: str, wanted: Any, value: PropertyValue) -> Iterator[tuple[str, str]]:
    if is_unknown(value) or value.value is None:
        return
    choices = [choice for choice in _choices(wanted) if choice is not Any]
    found = [list(_problems_of(path, choice, value)) for choice in choices]
    if found and all(found):
        yield from min(found, key=len)


def _problems_of(path: str, wanted: Any, value: PropertyValue) -> Iterator[tuple[str, str]]:
    held, origin = value.value, get_origin(wanted)
    if origin in (Sequence, list) or (origin and issubclass(origin, Sequence)):
        if not isinstance(held, tuple):
            yield path, f"expected a list at '{path}', got {_named(held)}"
            return
        for index, item in enumerate(held):
            yield from _problems(f"{path}[{index}]", get_args(wanted)[0], item)
    elif origin and issubclass(origin, Mapping):
        if not isinstance(held, Mapping):
            yield path, f"expected a map at '{path}', got {_named(held)}"
            return
        for key, item in held.items():
            yield from _problems(f"{path}.{key}", get_args(wanted)[1], item)
    elif inspect.isclass(wanted) and _types.is_input_type(wanted):
        if not isinstance(held, Mapping):
            yield path, f"expected an object at '{path}', got {_named(held)}"
            return
        for name in _required(wanted):
            if name not in held:
                yield path, f"Missing required property '{path}.{name}'"
        yield from _object_problems(f"{path}.", _types.input_type_types(wanted), held)
    elif inspect.isclass(wanted) and issubclass(wanted, Enum):
        if held not in [member.value for member in wanted]:
            yield path, f"'{path}': {held!r} is not one of {', '.join(str(member.value) for member in wanted)}"
    elif wanted in PLAIN and not _fits(held, wanted):
        yield path, f"expected a {PLAIN[wanted]} at '{path}', got {_named(held)}"


def _fits(held: Any, wanted: type) -> bool:
    if wanted is bool or isinstance(held, bool):
        return wanted is bool and isinstance(held, bool)
    if wanted is int:
        return isinstance(held, int | float) and float(held).is_integer()
    return isinstance(held, (int, float) if wanted is float else wanted)


def _choices(wanted: Any) -> list[Any]:
    """Unfold Input[T]: a union of T, an awaitable and an Output."""
    if get_origin(wanted) is typing.Union or type(wanted).__name__ == "UnionType":
        return [choice for part in get_args(wanted) for choice in _choices(part)]
    plumbing = getattr(get_origin(wanted) or wanted, "__name__", "")
    return [] if plumbing in ("Awaitable", "Output", "NoneType") else [wanted]


def _required(args_class: type) -> list[str]:
    names = _types.input_type_py_to_pulumi_names(args_class)
    parameters = list(inspect.signature(args_class.__init__).parameters.values())[1:]
    return [names.get(p.name, p.name) for p in parameters if p.default is inspect.Parameter.empty and p.name in names]


def _class(resource: str, pattern: str) -> type:
    module, _, name = resource.partition(":")
    # The package first, by a name of its own: it loads at its first use, and would take over a half-loaded module's.
    getattr(import_module(module.rpartition(".")[0]), name)
    held = import_module(module)
    # Where an input type has the resource's name as well, the generator calls the resource's own "...InitArgs".
    return getattr(held, pattern.format(name).replace("Args", "InitArgs"), None) or getattr(held, pattern.format(name))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _named(held: Any) -> str:
    if isinstance(held, Mapping | tuple):
        return "a map" if isinstance(held, Mapping) else "a list"
    return f"a {PLAIN.get(type(held), type(held).__name__)}"
