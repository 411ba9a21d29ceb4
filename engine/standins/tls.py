"""The `tls` stand-in: PrivateKey, CertRequest, SelfSignedCert and LocallySignedCert.

What changes do, from the plan modifiers of terraform-provider-tls: every input replaces, but `earlyRenewalHours`; a
PEM input replaces only if the state holds a PEM text. `maxPathLength` taken away is no change. A certificate whose end
less `earlyRenewalHours` has passed is replaced; a refresh shows it first as `readyForRenewal`. Defaults of Terraform's
schema go to the outputs and not to the inputs.

Not here: the look-ups `getPublicKey` and `getCertificate`, import, the provider's `proxy` setting (only
`getCertificate` uses it), and the raw state delta (see the package's docstring).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pulumi.provider.experimental import provider as p

from .engine_log import EngineLog
from .properties import (
    Failure,
    Properties,
    changed_paths,
    drop_nulls,
    has_unknown,
    mark_secret,
    plain,
    property_diffs,
    to_property,
    top_level,
    unknown,
)
from .tls_checks import check_failures

# As the official requireReplaceIfStateContainsPEMString: Windows line ends, for one, do not match.
STATE_PEM = re.compile(r"\A-----BEGIN [A-Za-z ]+-----\n.+\n-----END [A-Za-z ]+-----\n?\Z", re.DOTALL)


@dataclass(frozen=True)
class Kind:
    """One resource type: the properties by role, and what computes its outputs."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    computed: tuple[str, ...]
    make: Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]  # plain inputs -> id, computed outputs
    defaults: dict[str, Any] = field(default_factory=dict)
    schema_version: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.required + self.optional


SECRETS = frozenset({"privateKeyPem", "privateKeyOpenssh", "privateKeyPemPkcs8", "caPrivateKeyPem"})
PEM_INPUTS = ("privateKeyPem", "caPrivateKeyPem", "caCertPem", "certRequestPem")
VALIDITY = ("certPem", "validityStartTime", "validityEndTime")
CERT_DEFAULTS = {"earlyRenewalHours": 0, "isCaCertificate": False, "setSubjectKeyId": False}


# cryptography takes 0.15 s to import; a run that makes nothing does without it, so the functions below import it.


def make_private_key(inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from . import keys

    key = keys.generate(inputs["algorithm"], int(inputs["rsaBits"]), inputs["ecdsaCurve"])
    public = key.public_key()
    return keys.state_id(keys.public_der(public)), keys.private_texts(key) | keys.public_texts(public)


def make_request(inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from . import certificates, keys

    key = keys.parse(inputs["privateKeyPem"], "private key")
    made = certificates.request(inputs, key)
    outputs = {"keyAlgorithm": keys.algorithm_of(key), "certRequestPem": certificates.pem(made)}
    return keys.state_id(certificates.der(made)), outputs


def make_self_signed(inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from . import certificates, keys

    key = keys.parse(inputs["privateKeyPem"], "private key")
    now = utc_now()
    made = certificates.self_signed(inputs, key, now)
    return _certificate_outputs(inputs, made, now, {"keyAlgorithm": keys.algorithm_of(key)})


def make_locally_signed(inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from . import certificates, keys

    csr = certificates.load(inputs["certRequestPem"], "CERTIFICATE REQUEST", "certificate request")
    ca_key = keys.parse(inputs["caPrivateKeyPem"], "CA private key")
    ca = certificates.load(inputs["caCertPem"], "CERTIFICATE", "CA certificate")
    now = utc_now()
    made = certificates.locally_signed(inputs, csr, ca, ca_key, now)
    return _certificate_outputs(inputs, made, now, {"caKeyAlgorithm": keys.algorithm_of(ca_key)})


def _certificate_outputs(
    inputs: dict[str, Any], made: Any, now: datetime, more: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    ends = now + timedelta(hours=int(inputs["validityPeriodHours"]))
    from . import certificates

    times = {"validityStartTime": _rfc3339(now), "validityEndTime": _rfc3339(ends)}
    return str(made.serial_number), {"certPem": certificates.pem(made), **times, **more}


def utc_now() -> datetime:
    return datetime.now(UTC)


def _rfc3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


KINDS = {
    "tls:index/privateKey:PrivateKey": Kind(
        required=("algorithm",),
        optional=("rsaBits", "ecdsaCurve"),
        computed=(
            *("privateKeyPem", "privateKeyOpenssh", "privateKeyPemPkcs8", "publicKeyPem", "publicKeyOpenssh"),
            *("publicKeyFingerprintMd5", "publicKeyFingerprintSha256"),
        ),
        make=make_private_key,
        defaults={"rsaBits": 2048, "ecdsaCurve": "P224"},
        schema_version=1,
    ),
    "tls:index/certRequest:CertRequest": Kind(
        required=("privateKeyPem",),
        optional=("subject", "dnsNames", "ipAddresses", "uris"),
        computed=("keyAlgorithm", "certRequestPem"),
        make=make_request,
    ),
    "tls:index/selfSignedCert:SelfSignedCert": Kind(
        required=("privateKeyPem", "validityPeriodHours", "allowedUses"),
        optional=("subject", "dnsNames", "ipAddresses", "uris", "maxPathLength", "setAuthorityKeyId", *CERT_DEFAULTS),
        computed=("keyAlgorithm", *VALIDITY),
        make=make_self_signed,
        defaults={**CERT_DEFAULTS, "setAuthorityKeyId": False},
    ),
    "tls:index/locallySignedCert:LocallySignedCert": Kind(
        required=("caCertPem", "caPrivateKeyPem", "certRequestPem", "validityPeriodHours", "allowedUses"),
        optional=("maxPathLength", *CERT_DEFAULTS),
        computed=("caKeyAlgorithm", *VALIDITY),
        make=make_locally_signed,
        defaults=CERT_DEFAULTS,
    ),
}


class TlsProvider(p.Provider):
    """Makes keys and certificates; nothing of them exists outside the stack's state."""

    def __init__(self, log: EngineLog | None = None) -> None:
        self._log = log or EngineLog()

    async def configure(self, request: p.ConfigureRequest) -> p.ConfigureResponse:
        # Output values and resource references would need more than PropertyValue can unmarshal.
        return p.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def diff_config(self, request: p.DiffRequest) -> p.DiffResponse:
        return p.DiffResponse(changes=False)

    async def check(self, request: p.CheckRequest) -> p.CheckResponse:
        kind = _kind(request.type)
        inputs = mark_secret(drop_nulls(request.new_inputs), SECRETS)
        return p.CheckResponse(inputs, check_failures(request.name, kind.required, inputs))

    async def diff(self, request: p.DiffRequest) -> p.DiffResponse:
        kind = _kind(request.type)
        inputs, state = dict(request.new_inputs), request.old_state
        for path in request.ignore_changes:
            name = top_level(path)  # a nested path keeps the whole property, which no certificate here needs finer
            inputs.pop(name, None)
            inputs.update({name: state[name]} if name in state else {})
        new, old = _planned(kind, inputs), _planned(kind, state)
        if "maxPathLength" not in new:
            old.pop("maxPathLength", None)
        replaces = {name for name in kind.inputs if name != "earlyRenewalHours"}
        replaces -= {name for name in PEM_INPUTS if not STATE_PEM.match(str(plain(state.get(name))))}
        detailed, replaced = property_diffs(changed_paths(old, new), frozenset(replaces))
        if _is_due(state, new):
            detailed["readyForRenewal"] = p.PropertyDiff(p.PropertyDiffKind.UPDATE_REPLACE, False)
            replaced.append("readyForRenewal")
        elif plain(state.get("readyForRenewal")) and not _made_ready(new):
            detailed["readyForRenewal"] = p.PropertyDiff(p.PropertyDiffKind.UPDATE, False)
        diffs = list(dict.fromkeys(top_level(path) for path in detailed))
        return p.DiffResponse(bool(detailed), replaced, diffs=diffs, detailed_diff=detailed)

    async def create(self, request: p.CreateRequest) -> p.CreateResponse:
        kind = _kind(request.type)
        outputs = _planned(kind, request.properties)
        certificate = "certPem" in kind.computed
        if certificate:
            outputs["readyForRenewal"] = to_property(_made_ready(outputs))
        if request.preview:
            awaited = kind.computed + (("maxPathLength",) if certificate else ())
            outputs |= {name: unknown(name in SECRETS) for name in awaited if name not in outputs}
            return p.CreateResponse(None, outputs)
        # An RSA key takes 0.1 s to many seconds; other requests must not wait for it.
        made_id, made = await asyncio.to_thread(kind.make, plain(to_property(outputs)))
        outputs |= mark_secret({name: to_property(value) for name, value in made.items()}, SECRETS)
        outputs["id"] = to_property(made_id)
        if kind.schema_version:
            outputs["__meta"] = to_property(json.dumps({"schema_version": str(kind.schema_version)}))
        return p.CreateResponse(made_id, outputs)

    async def read(self, request: p.ReadRequest) -> p.ReadResponse:
        if not request.properties:
            raise Failure("Resource Import Not Implemented: a key or certificate cannot be imported")
        outputs = dict(request.properties)
        if _is_due(outputs, _planned(_kind(request.type), outputs)):
            outputs["readyForRenewal"] = to_property(True)
        return p.ReadResponse(request.resource_id, outputs, request.inputs)

    async def update(self, request: p.UpdateRequest) -> p.UpdateResponse:
        """Copy the inputs over; the certificate stays what it is (only `earlyRenewalHours` comes here)."""
        kind = _kind(request.type)
        kept = {k: v for k, v in request.olds.items() if k not in kind.inputs or k == "maxPathLength"}
        outputs = kept | _planned(kind, request.news)
        if "certPem" in kind.computed:
            outputs["readyForRenewal"] = to_property(_made_ready(outputs))
        return p.UpdateResponse(outputs)

    async def delete(self, request: p.DeleteRequest) -> None:
        """Nothing to do: what was made lives in the state only."""

    async def invoke(self, request: p.InvokeRequest) -> p.InvokeResponse:
        raise Failure(f"{request.tok} is not in the stand-in for the tls plugin; use the official plugin")


def _kind(type_path: str) -> Kind:
    resource_type = type_path.rpartition("$")[2]  # below components it is "parent$child"
    if resource_type not in KINDS:
        raise Failure(f"{resource_type} is not in the stand-in for the tls plugin (it has: {', '.join(KINDS)})")
    return KINDS[resource_type]


def _planned(kind: Kind, properties: Properties) -> Properties:
    """Return the inputs among `properties`, with the schema's defaults filled in and secrets marked."""
    given = drop_nulls({name: properties[name] for name in kind.inputs if name in properties})
    return {name: to_property(value) for name, value in kind.defaults.items()} | mark_secret(given, SECRETS)


def _is_due(state: Properties, planned: Properties) -> bool:
    """Has the certificate reached the time from which it is renewed?"""
    ends, early = state.get("validityEndTime"), planned.get("earlyRenewalHours")
    if ends is None or early is None or has_unknown(ends) or has_unknown(early):
        return False
    return datetime.fromisoformat(plain(ends)) - timedelta(hours=plain(early)) <= utc_now()


def _made_ready(planned: Properties) -> bool:
    """Is the certificate due for renewal from the moment it is made?"""
    hours, early = planned["validityPeriodHours"], planned["earlyRenewalHours"]
    if has_unknown(hours) or has_unknown(early):
        return False
    return plain(hours) == 0 or plain(early) >= plain(hours)
