"""Checks entries one by one and gathers what is wrong, so that one mistake does not hide the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from components.model.entries import NAME_PATTERN, NameEntry
from components.model.errors import StackError

Shape = TypeVar("Shape", bound=BaseModel)

SHOWN_CHARACTERS = 80
FREE_ID = "Choose a free id; an id once used stays with its owner for life."


class StackReader:
    """Reads one stack's values; notes each mistake instead of stopping at it."""

    def __init__(self) -> None:
        self.errors: list[StackError] = []
        self._taken: dict[tuple[str, object], str] = {}  # (kind, value) -> the place that has it

    def entry(self, shape: type[Shape], value: object, *place: str) -> Shape | None:
        """Check one entry by its shape; None means that its mistakes are noted."""
        try:
            return shape.model_validate({} if value is None else value)
        except ValidationError as invalid:
            for error in invalid.errors():
                inner = tuple(str(part) for part in error["loc"])
                limit, cure = _explained(error, shape)
                shown = None if error["type"] == "missing" else error["input"]
                self.note((*place, *inner), shown, limit, cure)
            return None

    def section(self, shape: type[Shape], values: object, *place: str) -> dict[str, Shape]:
        """Check a map of named entries; return those that are right, by name."""
        if values is None:
            return {}
        if not isinstance(values, Mapping):
            self.note(place, values, "is not a map of names", "Write one key for each entry.")
            return {}
        right = {}
        for name in sorted(values, key=str):
            named = self._named(name, *place)
            entry = self.entry(shape, values[name], *place, str(name))
            if named and entry is not None:
                right[name] = entry
        return right

    def note(self, place: tuple[str, ...], value: object, limit: str, cure: str) -> None:
        """Keep one mistake."""
        self.errors.append(StackError(".".join(place), "" if value is None else _shown(value), limit, cure))

    def unique(self, kind: str, value: object, place: tuple[str, ...], cure: str = FREE_ID) -> None:
        """Note a value that another place has."""
        here = ".".join(place)
        first = self._taken.setdefault((kind, value), here)
        if first != here:
            self.note(place, value, f"is taken: vcubev:{first} has this {kind}", cure)

    def _named(self, name: object, *place: str) -> bool:
        try:
            NameEntry.model_validate({"name": name})
        except ValidationError:
            limit = f"is no name: a name matches {NAME_PATTERN}, since it becomes part of host names and certificates"
            self.note(
                (*place, _clipped(str(name))), name, limit, "Write another name; quote one that YAML takes as a number."
            )
            return False
        return True


def _explained(error: Mapping[str, Any], shape: type[BaseModel]) -> tuple[str, str]:
    """Return (limit, cure) for one of pydantic's findings."""
    kind, context, place = error["type"], error.get("ctx", {}), error["loc"]
    field = _field(shape, place)
    if kind == "missing":
        return "is missing", "Add it."
    if kind == "extra_forbidden":
        keys = [field.alias or name for name, field in _inner(shape, place[:-1]).model_fields.items()]
        return "is not a key of this entry", f"Keys here: {', '.join(keys)}."
    if kind in ("greater_than_equal", "less_than", "less_than_equal"):
        return f"is out of range ({_range_of(field)})", "Choose a number in the range."
    if kind == "value_error":
        return f"is not a prefix: {context['error']}", "Write it as 10.100.0.0/16 or fd5c:ab1e::/48, host bits zero."
    if kind == "no_address":
        return error["msg"], "Write it as 203.0.113.7."
    if kind == "string_pattern_mismatch":
        what = _description(field) or "a name"
        return f"is not {what}: it matches {context['pattern']}", f"Write {what}."
    return (
        f"has the wrong form: {error['msg'][0].lower()}{error['msg'][1:]}",
        "See the example in stacks/Pulumi.lab.yaml.",
    )


def _inner(shape: type[BaseModel], place: tuple[Any, ...]) -> type[BaseModel]:
    """Return the shape of the entry that stands at a place inside another."""
    for part in place:
        field = shape.model_fields.get(str(part))
        shapes = [kind for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not shapes:
            break
        shape = shapes[0]
    return shape


def _field(shape: type[BaseModel], place: tuple[Any, ...]) -> FieldInfo | None:
    names = [part for part in place if isinstance(part, str)]
    return _inner(shape, tuple(names[:-1])).model_fields.get(names[-1]) if names else None


def _kinds(field: FieldInfo | None) -> tuple[Any, ...]:
    """Return the alternatives that a field's type has: `X | None` is X or None."""
    if field is None:
        return ()
    return get_args(field.annotation) or (field.annotation,)


def _limits(field: FieldInfo | None) -> list[Any]:
    """Return what a field's type demands, be it optional or a list's items."""
    inner = [part for kind in _kinds(field) for part in getattr(kind, "__metadata__", ())]
    inner = [limit for part in inner for limit in (part.metadata if isinstance(part, FieldInfo) else [part])]
    return [*(field.metadata if field else ()), *inner]


def _description(field: FieldInfo | None) -> str:
    parts = [part for kind in _kinds(field) for part in getattr(kind, "__metadata__", ())]
    told = [getattr(part, "description", None) for part in (field, *parts)]
    return next(filter(None, told), "")


def _range_of(field: FieldInfo | None) -> str:
    low, high = None, None
    for limit in _limits(field):
        low = getattr(limit, "ge", low)
        high = getattr(limit, "le", high)
        if getattr(limit, "lt", None) is not None:
            high = limit.lt - 1
    return f"from {low}" if high is None else f"{low}-{high}"


def _shown(value: object) -> str:
    return _clipped(repr(value) if isinstance(value, str) else str(value))


def _clipped(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
