"""A stack file's entries as plain typed dictionaries, for those who write them in code: the schema of other languages.

Made of the entries that check them, so there is one description of what may be said.
"""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict, Union, get_args, get_origin

from pydantic import BaseModel

from components.model.entries import (
    CertificatesEntry,
    HostEntry,
    HubEntry,
    KeysEntry,
    MeshEntry,
    OverlayEntry,
    RetiredEntry,
    RoleEntry,
    SiteEntry,
)
from components.model.services import ExpectationEntry, MetricsEntry, PolicyEntry, ServiceEntry

PLAIN = (bool, int, str)
# Where an entry's own check leaves it to others to look into the entries below it.
INNER = {(SiteEntry, "hubs"): dict[str, HubEntry], (SiteEntry, "hosts"): dict[str, HostEntry]}


@cache
def as_dictionary(entry: type[BaseModel]) -> type:
    """Return the TypedDict of an entry, keys as in the stack file; prefixes and addresses are text."""
    fields = {}
    for name, field in entry.model_fields.items():
        kind = _plain(INNER.get((entry, name), field.annotation))
        fields[field.alias or name] = kind if field.is_required() else NotRequired[_required(kind)]
    return TypedDict(entry.__name__, fields, total=True)  # type: ignore[operator]


def _plain(kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _plain(inner[0])
    if origin is Literal:
        return type(inner[0])
    if origin in (Union, types.UnionType):
        return Optional[_plain(next(one for one in inner if one is not type(None)))]  # noqa: UP045
    if origin is list:
        return list[_plain(inner[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[str, _plain(inner[1])]  # type: ignore[misc]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return as_dictionary(kind)
    return kind if kind in PLAIN else str


def _required(kind: Any) -> Any:
    """Return the type less None: a key that need not be there is left out."""
    return get_args(kind)[0] if get_origin(kind) in (Union, types.UnionType) else kind


# The keys of a stack file that have nothing to do with how many sites there are.
_COMMON = {
    "overlay": as_dictionary(OverlayEntry),
    "roles": NotRequired[dict[str, as_dictionary(RoleEntry)]],  # type: ignore[misc]
    "services": NotRequired[dict[str, as_dictionary(ServiceEntry)]],  # type: ignore[misc]
    "domain": NotRequired[str],
    "metrics": NotRequired[as_dictionary(MetricsEntry)],  # type: ignore[misc]
    "policy": NotRequired[as_dictionary(PolicyEntry)],  # type: ignore[misc]
    "tests": NotRequired[list[as_dictionary(ExpectationEntry)]],  # type: ignore[misc]
    "certificates": NotRequired[as_dictionary(CertificatesEntry)],  # type: ignore[misc]
    "operators": NotRequired[list[str]],
    "direct": NotRequired[bool],
    "retired": NotRequired[as_dictionary(RetiredEntry)],  # type: ignore[misc]
    "revoked": NotRequired[list[str]],
    "keys": NotRequired[as_dictionary(KeysEntry)],  # type: ignore[misc]
}
MESH_KEYS: dict[str, Any] = {
    **_COMMON,
    "sites": dict[str, as_dictionary(SiteEntry)],  # type: ignore[misc]
    "mesh": NotRequired[as_dictionary(MeshEntry)],  # type: ignore[misc]
}
# One site alone; `site_name` is the resource's own name if it is not given.
SITE_KEYS: dict[str, Any] = {**_COMMON, "site": as_dictionary(SiteEntry), "site_name": NotRequired[str]}


def values_of(inputs: Any) -> Any:
    """Return inputs as a stack file's values: the engine's numbers are all floating, and what is not said is None."""
    if isinstance(inputs, dict):
        return {key: values_of(value) for key, value in inputs.items() if value is not None}
    if isinstance(inputs, list):
        return [values_of(value) for value in inputs]
    return int(inputs) if isinstance(inputs, float) and inputs.is_integer() else inputs
