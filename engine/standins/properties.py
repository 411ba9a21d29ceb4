"""Property values as the engine sends them: plain, secret, unknown; and what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.provider.experimental.provider import PropertyDiff, PropertyDiffKind
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, PropertyValue]

# The engine has one sentinel per type of value, all of them texts; the SDK knows only the one for texts.
# Source: pulumi sdk/v3/go/common/resource/plugin/rpc.go
UNKNOWN_SENTINELS = frozenset(
    {
        UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)

# An asset as PropertyValue keeps it loses its hash, and two equal ones compare unequal. So `serve` renames the key
# that marks assets and archives, and they pass through as maps with all they came with.
SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
KIND_KEY = "__kind"
ASSET, ARCHIVE = "c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"


class Failure(Exception):
    """An error for the user to read: its text reaches the engine as it is, with no Python traceback."""


def unknown(secret: bool = False) -> PropertyValue:
    # PropertyValue.computed() exists but cannot be marshalled (SDK 3.272); the engine's own sentinel can.
    return PropertyValue(UNKNOWN, is_secret=secret)


def is_unknown(value: PropertyValue | None) -> bool:
    if value is None:
        return False
    return isinstance(value.value, Computed) or (isinstance(value.value, str) and value.value in UNKNOWN_SENTINELS)


def has_unknown(value: PropertyValue) -> bool:
    return is_unknown(value) or any(has_unknown(child) for _, child in _children(value))


def to_property(value: Any, secret: bool = False) -> PropertyValue:
    """Wrap plain Python data; integers become the floats that the engine knows."""
    if isinstance(value, PropertyValue):
        return value.with_secret(secret or value.is_secret)
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    elif isinstance(value, Mapping):
        value = {key: to_property(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        value = [to_property(item) for item in value]
    return PropertyValue(value, is_secret=secret)


def plain(value: PropertyValue | None) -> Any:
    """Strip secrecy: text, bool, float, list, dict or None. Nulls inside maps are left out, as both plugins do."""
    if value is None or is_unknown(value):
        return None if value is None else UNKNOWN
    if isinstance(value.value, Mapping):
        return {key: plain(item) for key, item in value.value.items() if item.value is not None}
    if isinstance(value.value, tuple):
        return [plain(item) for item in value.value]
    return value.value


def drop_nulls(properties: Properties) -> Properties:
    return {key: value for key, value in properties.items() if value.value is not None}


def mark_secret(properties: Properties, names: frozenset[str]) -> Properties:
    return {key: value.with_secret(True) if key in names else value for key, value in properties.items()}


def secret_texts(value: PropertyValue, inside: bool = False) -> Iterator[str]:
    """Yield every text at or below `value` that is marked secret."""
    inside = inside or value.is_secret
    if inside and isinstance(value.value, str):
        yield value.value
    for _, child in _children(value):
        yield from secret_texts(child, inside)


def _children(value: PropertyValue) -> Iterator[tuple[str, PropertyValue]]:
    if isinstance(value.value, Mapping):
        for key, child in value.value.items():
            yield f".{key}", child
    elif isinstance(value.value, tuple):
        for index, child in enumerate(value.value):
            yield f"[{index}]", child


def changed_paths(old: Properties, new: Properties) -> dict[str, PropertyDiffKind]:
    """Return what differs, by path ("subject.commonName", "triggers[0]"), as ADD, DELETE or UPDATE.

    A secret is one path, however deep, so that the engine shows no part of it. An unknown value differs from all.
    """
    found: dict[str, PropertyDiffKind] = {}
    _compare("", PropertyValue(drop_nulls(old)), PropertyValue(drop_nulls(new)), found)
    return {path.lstrip("."): kind for path, kind in found.items()}


def _compare(path: str, old: PropertyValue | None, new: PropertyValue | None, found: dict) -> None:
    if old is None or new is None:
        found[path] = PropertyDiffKind.ADD if old is None else PropertyDiffKind.DELETE
        return
    before, after = dict(_children(old)), dict(_children(new))
    same_shape = type(old.value) is type(new.value) and isinstance(old.value, Mapping | tuple)
    secret = old.is_secret or new.is_secret
    if _is_asset(old) and _is_asset(new):
        if _asset_identity(old) != _asset_identity(new):
            found[path] = PropertyDiffKind.UPDATE
    elif same_shape and not secret:
        for key in sorted(before.keys() | after.keys()):
            _compare(path + key, before.get(key), after.get(key), found)
    elif has_unknown(new) or plain(old) != plain(new):
        found[path] = PropertyDiffKind.UPDATE


def _is_asset(value: PropertyValue) -> bool:
    return isinstance(value.value, Mapping) and KIND_KEY in value.value


def _asset_identity(value: PropertyValue) -> Any:
    # The engine takes two assets for equal when their hashes are, wherever the files lie.
    asset = plain(value)
    return (asset[KIND_KEY], asset["hash"]) if asset.get("hash") else asset


def property_diffs(
    paths: dict[str, PropertyDiffKind], replaces: frozenset[str]
) -> tuple[dict[str, PropertyDiff], list[str]]:
    """Turn paths into the engine's detailed diff; top-level names in `replaces` make theirs a replacement."""
    detailed: dict[str, PropertyDiff] = {}
    replaced: dict[str, None] = {}
    for path, kind in paths.items():
        name = top_level(path)
        if name in replaces:
            kind = PropertyDiffKind(kind.value + 1)  # each X is followed by X_REPLACE in the protocol
            replaced[name] = None
        detailed[path] = PropertyDiff(kind, True)
    return detailed, list(replaced)


def top_level(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]
