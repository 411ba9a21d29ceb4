"""The `aws` stand-in: an overlay's networks, security groups, addresses and instances, through boto3.

The provider's own configuration says where to call: `aws:region`, `aws:endpoints` or AWS_ENDPOINT_URL, `aws:profile`,
`aws:defaultTags`. Credentials come from the environment or the profile, never from configuration, which the state
holds. Throttled calls are tried again as botocore does (mode "standard").

Not here: import, and every property that no kind translates, which is an error (see `Kind.handled`).
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, ClassVar

from pulumi.provider.experimental import provider as p

from . import aws_addresses, aws_machines, aws_network, aws_routes, aws_security, sdk_schema
from .aws_api import AwsApi, failure
from .aws_lookups import INVOKES, invoke
from .cloud_kinds import CloudProvider, Kind, Plain, number
from .engine_log import EngineLog
from .properties import Failure, Properties, is_unknown, plain, to_property

SETTINGS = frozenset(
    {
        "region",
        "endpoints",
        "profile",
        "defaultTags",
        "maxRetries",
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "version",
        "pluginDownloadURL",
    }
)
IN_THE_ENVIRONMENT = ("accessKey", "secretKey", "token")
# What of userData replaces: decided by another input of the same resource.
REPLACED_BY_CHOICE = frozenset({"userData", "userDataBase64"})


class AwsProvider(CloudProvider):
    """One region's calls; a resource that names another region gets clients of its own."""

    plugin = "aws"
    kinds: ClassVar[dict[str, Kind]] = {
        **aws_network.KINDS,
        **aws_routes.KINDS,
        **aws_addresses.KINDS,
        **aws_security.KINDS,
        **aws_machines.KINDS,
    }

    def __init__(self, log: EngineLog | None = None) -> None:
        super().__init__(log)
        self._settings: Plain = {}
        self._apis: dict[str, AwsApi] = {}
        self._lock = threading.Lock()

    async def check_config(self, request: p.CheckRequest) -> p.CheckResponse:
        return p.CheckResponse(dict(request.new_inputs), _setting_failures(request.new_inputs))

    async def diff_config(self, request: p.DiffRequest) -> p.DiffResponse:
        return p.DiffResponse(changes=False)

    async def configure(self, request: p.ConfigureRequest) -> p.ConfigureResponse:
        self._settings = {name: _parsed(plain(value)) for name, value in request.args.items() if not is_unknown(value)}
        if failures := _setting_failures(request.args):
            raise Failure("; ".join(failure.reason for failure in failures))
        return p.ConfigureResponse(accept_secrets=True, supports_preview=True)

    def api(self, inputs: Plain) -> AwsApi:
        known = self._settings.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        region = inputs.get("region") or known
        if not region:
            raise Failure("Missing region configuration: set aws:region, or AWS_REGION")
        with self._lock:
            if region not in self._apis:
                endpoints = {k: v for given in self._settings.get("endpoints") or [] for k, v in given.items() if v}
                tags = (self._settings.get("defaultTags") or {}).get("tags") or {}
                self._apis[region] = AwsApi(region, endpoints, tags, self._settings.get("profile"))
            return self._apis[region]

    def replaced(self, kind: Kind, inputs: Properties) -> frozenset[str]:
        if plain(inputs.get("userDataReplaceOnChange")):
            return kind.replaces | REPLACED_BY_CHOICE
        return kind.replaces

    def more_changes(self, kind: Kind, state: Properties, inputs: Properties) -> dict[str, p.PropertyDiffKind]:
        """Show tags that the provider's defaults have changed."""
        if "tags" not in kind.in_place or "tagsAll" not in state or is_unknown(inputs.get("tags")):
            return {}
        wanted = self.api(number(plain(to_property(state)))).tags(plain(inputs.get("tags")))
        return {} if wanted == plain(state["tagsAll"]) else {"tagsAll": p.PropertyDiffKind.UPDATE}

    def failure(self, error: Exception) -> Exception:
        return failure(error)

    async def invoke(self, request: p.InvokeRequest) -> p.InvokeResponse:
        if request.tok not in INVOKES:
            raise Failure(f"{request.tok} is not in the stand-in for the aws plugin (it has: {', '.join(INVOKES)})")
        function, _, secret = INVOKES[request.tok]
        args = number(plain(to_property(dict(request.args))))
        for name in args.keys() - sdk_schema.function_inputs(function):
            raise Failure(f"{request.tok} takes no '{name}'")
        found = await self._threaded(lambda: invoke(self.api(args), request.tok, args))
        joined = {**args, **found}
        answer = {name: to_property(v, secret=name in secret) for name, v in joined.items() if v is not None}
        return p.InvokeResponse(answer)


def _setting_failures(settings: Properties) -> list[p.CheckFailure]:
    failures = []
    for name, value in settings.items():
        if name in IN_THE_ENVIRONMENT and plain(value):
            failures.append(p.CheckFailure(name, f"aws:{name} would stand in the state: use the environment"))
        elif name not in SETTINGS and name not in IN_THE_ENVIRONMENT and plain(value) not in (None, "", [], {}):
            failures.append(p.CheckFailure(name, f"aws:{name} is not in the stand-in for the aws plugin"))
    return failures


def _parsed(value: Any) -> Any:
    """The engine sends a provider's settings as JSON text, where they are not text themselves."""
    if isinstance(value, str) and value[:1] in ("[", "{", '"'):
        return json.loads(value)
    return value
