"""Whose certificates hubs refuse: worked out from what was signed before and from what the stack file says now.

A ledger goes from run to run. It knows every certificate that is neither expired nor revoked, also those that another
has taken the place of: a renewed machine may not have its new one yet.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from components.model.keys import FIRST, Generations

CERTIFICATE_TYPE = "tls:index/locallySignedCert:LocallySignedCert"
# An entry outlives its certificate by what a hub's clock may be late.
CLOCK_MARGIN = timedelta(days=30)


@dataclass(frozen=True, order=True)
class Issued:
    """A certificate that was signed once."""

    serial: int
    name: str  # its common name: "host.web-1", "hub.oregon.a"
    until: datetime
    generation: int = FIRST[0]  # of the key that it is for


@dataclass(frozen=True, order=True)
class Revoked:
    """A certificate that no hub accepts any more."""

    serial: int
    name: str
    until: datetime
    since: datetime


@dataclass(frozen=True)
class Ledger:
    """All certificates that matter still."""

    live: frozenset[Issued] = frozenset()
    revoked: frozenset[Revoked] = frozenset()
    number: int = 0  # how often `revoked` has changed

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Ledger:
        """Read what `written` made."""
        live = {
            Issued(int(serial), name, _moment(one["until"]), int(one["generation"]))
            for name, serials in written["live"].items()
            for serial, one in serials.items()
        }
        revoked = {
            Revoked(int(serial), one["name"], _moment(one["until"]), _moment(one["since"]))
            for serial, one in written["revoked"].items()
        }
        return cls(frozenset(live), frozenset(revoked), int(written["number"]))

    def written(self) -> dict[str, Any]:
        """Return it as plain values. Serial numbers are text: no number of JSON's holds 128 bits."""
        live: dict[str, dict[str, Any]] = {}
        for one in sorted(self.live):
            entry = {"generation": one.generation, "until": text_of(one.until)}
            live.setdefault(one.name, {})[str(one.serial)] = entry
        revoked = {
            str(one.serial): {"name": one.name, "until": text_of(one.until), "since": text_of(one.since)}
            for one in sorted(self.revoked)
        }
        return {"number": self.number, "live": live, "revoked": revoked}

    def with_issued(self, issued: Iterable[Issued]) -> Ledger:
        """Return it with certificates added, but for those that are revoked: revoked is for good."""
        gone = {one.serial for one in self.revoked}
        return Ledger(self.live | {one for one in issued if one.serial not in gone}, self.revoked, self.number)

    def judged(self, members: Mapping[str, Generations], listed: Collection[str], now: datetime) -> Ledger:
        """Return it after the stack file has had its say.

        Args:
            members: Common name of every hub and host -> the generations of its key that are accepted.
            listed: Common names, and serial numbers as text, that are to be revoked.
        """
        now = now.replace(microsecond=0)
        known = [one for one in self.live if not _over(one, now)]
        condemned = {one for one in known if _condemned(one, members, listed)}
        kept = frozenset(one for one in self.revoked if not _over(one, now))
        revoked = kept | {Revoked(one.serial, one.name, one.until, now) for one in condemned}
        return Ledger(frozenset(known) - condemned, revoked, self.number + (revoked != self.revoked))


def _over(one: Issued | Revoked, now: datetime) -> bool:
    return now > one.until + CLOCK_MARGIN


def _condemned(one: Issued, members: Mapping[str, Generations], listed: Collection[str]) -> bool:
    gone = one.name not in members or one.generation not in members[one.name]
    return gone or one.name in listed or str(one.serial) in listed


def read_certificate(pem: str, generation: int = FIRST[0]) -> Issued:
    return _issued(x509.load_pem_x509_certificate(pem.encode()), generation)


def _issued(certificate: x509.Certificate, generation: int) -> Issued:
    name = _common_name(certificate.subject)
    return Issued(certificate.serial_number, name, certificate.not_valid_after_utc, generation)


def _common_name(name: x509.Name) -> str:
    (found,) = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found.value)


def issued_in(state: Mapping[str, Mapping[str, Any]], authority: str) -> Iterator[Issued]:
    """Find the certificates of one mesh in the engine's state.

    Args:
        state: URN -> {"type", "outputs"}.
        authority: How the common name of those who sign for this mesh begins: a stack may hold several meshes.
    """
    for urn, resource in state.items():
        pem = resource["outputs"].get("certPem") if resource["type"] == CERTIFICATE_TYPE else None
        if not pem:
            continue
        certificate = x509.load_pem_x509_certificate(pem.encode())
        if re.fullmatch(rf"{re.escape(authority)}( \d+)?", _common_name(certificate.issuer)):
            number = re.search(r"-cert-(\d+)$", urn)
            yield _issued(certificate, int(number[1]) if number else FIRST[0])


def ledger_in(state: Mapping[str, Mapping[str, Any]], urn_end: str) -> Ledger:
    """Return the ledger of the run before, which one component keeps; an empty one if there was none.

    Args:
        urn_end: Type and name of that component.
    """
    written = [resource["outputs"] for urn, resource in state.items() if urn.endswith(urn_end)]
    return Ledger.of(written[0]) if written and "number" in written[0] else Ledger()


def text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
