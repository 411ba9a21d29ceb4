"""The pack as the engine starts it: hands resources to rules.py and tells what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError
from rules import (
    UNKNOWN,
    WARN_DAYS,
    Resource,
    ended,
    ending,
    hubs_that_fail_together,
    metadata_without_session,
    shared_addresses,
    ssh_from_everywhere,
)


def plain(value: Any) -> Any:
    """Return a value of the engine's with UNKNOWN where it cannot be known yet."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_item(value, place) for place in range(len(value))]
    return value


def _item(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def each(name: str, told: str, rule: Callable[[Resource], Iterator[str]]) -> ResourceValidationPolicy:
    """Return a rule over one resource, which stops it from being made."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for message in rule(Resource(args.resource_type, args.name, plain(args.props), args.urn)):
            report(message)

    return ResourceValidationPolicy(name, told, validate, EnforcementLevel.MANDATORY)


def together(
    name: str,
    told: str,
    rule: Callable[[Iterable[Resource]], Iterator[tuple[str, str]]],
    level: EnforcementLevel = EnforcementLevel.MANDATORY,
) -> StackValidationPolicy:
    """Return a rule over the whole stack, which fails the preview, and the update at its end."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [
            Resource(one.resource_type, one.name, plain(one.props), one.urn, one.parent.urn if one.parent else "")
            for one in args.resources
        ]
        for message, urn in rule(resources):
            report(message, urn)

    return StackValidationPolicy(name, told, validate, level)


def now() -> datetime:
    return datetime.now(UTC)


PolicyPack(
    "vcubev",
    [
        each("ssh-from-everywhere", "No firewall opens SSH to the whole internet.", ssh_from_everywhere),
        each("imdsv2", "EC2 serves metadata to sessions only, one hop far.", metadata_without_session),
        together("hubs-apart", "The hubs of a site do not fail together.", hubs_that_fail_together),
        together("one-address-one-name", "A virtual address has one owner.", shared_addresses),
        together("certificate-ended", "Every certificate is valid.", lambda all_: ended(all_, now())),
        together(
            "certificate-ending",
            f"No certificate ends within {WARN_DAYS} days.",
            lambda all_: ending(all_, now()),
            EnforcementLevel.ADVISORY,
        ),
    ],
)
