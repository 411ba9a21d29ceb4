"""What the official `command` plugin's Check does to inputs: defaults, secrets, and what it refuses.

Source: pulumi-command v1.2.1 provider/pkg/provider/remote/{connection,proxyConnection,copyController}.go and
pulumi-go-provider v1.3.0 infer/{apply_defaults,apply_secrets}.go
"""

from __future__ import annotations

from collections.abc import Mapping

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckFailure

from .properties import ARCHIVE, KIND_KEY, Properties, drop_nulls, is_unknown, plain, to_property

LOCAL = "command:local:Command"
REMOTE = "command:remote:Command"
COPY = "command:remote:CopyToRemote"

_COMMAND = ("create", "update", "delete", "triggers", "stdin", "logging", "environment", "addPreviousOutputInEnv")
INPUTS = {
    LOCAL: (*_COMMAND, "interpreter", "dir", "assetPaths", "archivePaths"),
    REMOTE: (*_COMMAND, "connection"),
    COPY: ("connection", "triggers", "source", "remotePath"),
}
REQUIRED = {LOCAL: (), REMOTE: ("connection",), COPY: ("connection", "source", "remotePath")}

CONNECTION_DEFAULTS = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
CONNECTION_SECRETS = ("password", "privateKey", "privateKeyPassword")
LOGGING = ("stdout", "stderr", "stdoutAndStderr", "none")


def check_inputs(resource_type: str, inputs: Properties) -> tuple[Properties, list[CheckFailure]]:
    """Return the inputs with defaults and secrets, and what is wrong with them."""
    checked = drop_nulls(inputs)
    failures = [
        CheckFailure(name, f"missing required field '{name}'")
        for name in REQUIRED[resource_type]
        if name not in checked
    ]
    for name in checked:
        if name not in INPUTS[resource_type] and not name.startswith("__"):
            failures.append(CheckFailure(name, f"Unrecognized field '{name}'"))
    if "connection" in checked:
        checked["connection"] = _connection(checked["connection"], failures).with_secret(True)
    logging = checked.get("logging")
    if logging is not None and not is_unknown(logging) and logging.value not in LOGGING:
        failures.append(CheckFailure("logging", f"'{logging.value}' is none of {', '.join(LOGGING)}"))
    if resource_type == COPY and "source" in checked:
        failures += _source_failures(checked["source"])
    return checked, failures


def _connection(connection: PropertyValue, failures: list[CheckFailure]) -> PropertyValue:
    if is_unknown(connection):
        return connection
    if not isinstance(connection.value, Mapping):
        failures.append(CheckFailure("connection", "expected an object"))
        return connection
    given = drop_nulls(dict(connection.value))
    if "host" not in given:
        failures.append(CheckFailure("connection", "missing required field 'host'"))
    full = {name: to_property(value) for name, value in CONNECTION_DEFAULTS.items()} | given
    for name in CONNECTION_SECRETS:
        if name in full:
            full[name] = full[name].with_secret(True)
    if "proxy" in full:
        full["proxy"] = _connection(full["proxy"], failures)
    return connection.with_value(full)


def _source_failures(source: PropertyValue) -> list[CheckFailure]:
    if is_unknown(source):
        return []
    asset = plain(source)
    if not isinstance(asset, dict) or KIND_KEY not in asset:
        return [CheckFailure("asset", "either asset or archive must be set")]
    if asset[KIND_KEY] == ARCHIVE and not asset.get("path"):
        return [CheckFailure("archive", "archive must be a path to a file or directory")]
    if asset[KIND_KEY] != ARCHIVE and not asset.get("path") and "text" not in asset:
        return [CheckFailure("asset", "asset must be a path-based file asset or a text asset")]
    return []
