"""The validators of the official `tls` schema, with their texts.

Source: terraform-provider-tls resource schemas and terraform-plugin-framework-validators (stringvalidator.OneOf,
LengthAtLeast, int64validator.AtLeast), as pulumi-terraform-bridge words them for a check failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckFailure

from .properties import Properties, is_unknown, plain
from .usages import ALLOWED_USES

ONE_OF = {"algorithm": ("RSA", "ECDSA", "ED25519"), "ecdsaCurve": ("P224", "P256", "P384", "P521")}
AT_LEAST = {"validityPeriodHours": 0, "earlyRenewalHours": 0, "maxPathLength": -1}
NOT_EMPTY = ("ipAddresses", "uris")


def check_failures(name: str, required: tuple[str, ...], inputs: Properties) -> list[CheckFailure]:
    """Return what the official plugin would refuse before anything is made; unknown values pass."""
    failures = []
    for missing in required:
        if missing not in inputs:
            reason = f"Missing required property '{missing}'"
            failures.append(CheckFailure(missing, reason))
    for key, value in inputs.items():
        for path, reason in _wrong(key, value):
            failures.append(CheckFailure(key, f"{reason}. Examine values at '{name}.{path}'."))
    return failures


def _wrong(key: str, value: PropertyValue) -> Iterator[tuple[str, str]]:
    if is_unknown(value):
        return
    if key in ONE_OF and value.value not in ONE_OF[key]:
        yield key, _no_match(key, ONE_OF[key], value.value)
    if key in AT_LEAST and isinstance(value.value, float) and value.value < AT_LEAST[key]:
        said = f"Attribute {_snake(key)} value must be at least {AT_LEAST[key]}, got: {value.value:.0f}"
        yield key, f"Invalid Attribute Value. {said}"
    if not isinstance(value.value, tuple):
        return
    for index, item in enumerate(value.value):
        path = f"{key}[{index}]"
        if is_unknown(item):
            continue
        if key == "allowedUses" and item.value not in ALLOWED_USES:
            yield path, _no_match(path, ALLOWED_USES, item.value)
        if key in NOT_EMPTY and plain(item) == "":
            said = f"Attribute {_snake(path)} string length must be at least 1, got: 0"
            yield path, f"Invalid Attribute Value Length. {said}"


def _no_match(path: str, allowed: tuple[str, ...], got: object) -> str:
    listed = " ".join(f'"{value}"' for value in allowed)
    return f'Invalid Attribute Value Match. Attribute {_snake(path)} value must be one of: [{listed}], got: "{got}"'


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)
