"""How the `aws` stand-in calls AWS: boto3 with the provider's own configuration, so botocore judges every call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .awaiting import remove_when_free
from .properties import Failure

IN_USE = (
    "DependencyViolation",
    "InvalidIPAddress.InUse",
    "InvalidNetworkInterface.InUse",
    "InvalidParameterValue.InUse",
)


class AwsApi:
    """Clients of one region, and what the provider puts on all that it makes."""

    def __init__(self, region: str, endpoints: dict[str, str], default_tags: dict[str, str], profile: str | None):
        self.region, self.endpoints, self.default_tags = region, endpoints, default_tags
        # The engine runs calls in threads of ours: a session is not thread-safe, its clients are.
        session = boto3.Session(profile_name=profile, region_name=region)
        retries = Config(retries={"mode": "standard", "total_max_attempts": 8}, read_timeout=60, connect_timeout=10)

        made: dict[str, Any] = {}
        making = threading.Lock()

        def client(service: str) -> Any:
            with making:
                if service not in made:
                    made[service] = session.client(service, endpoint_url=endpoints.get(service), config=retries)
                return made[service]

        self.client = client

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    def shape(self, name: str) -> tuple[str, ...]:
        """Return what botocore's model of EC2 lists as the values of a type."""
        return tuple(self.ec2.meta.service_model.shape_for(name).enum)

    def tags(self, given: dict[str, str] | None) -> dict[str, str]:
        return {**self.default_tags, **(given or {})}

    def tag_spec(self, resource_type: str, given: dict[str, str] | None) -> list[dict[str, Any]]:
        """Tag at birth: what a broken-off run leaves can be found."""
        tags = tag_list(self.tags(given))
        return [{"ResourceType": resource_type, "Tags": tags}] if tags else []

    def retag(self, resource: str, state: dict[str, Any], inputs: dict[str, Any]) -> None:
        old, new = state.get("tagsAll") or {}, self.tags(inputs.get("tags"))
        if gone := [{"Key": key} for key in old if key not in new]:
            self.ec2.delete_tags(Resources=[resource], Tags=gone)
        if new:
            self.ec2.create_tags(Resources=[resource], Tags=tag_list(new))

    def tag_outputs(self, item: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        found = {tag["Key"]: tag["Value"] for tag in item.get("Tags", []) if not tag["Key"].startswith("aws:")}
        given = state.get("tags") or {}
        own = {key: v for key, v in found.items() if key in given or self.default_tags.get(key) != v}
        return {"tags": own or None, "tagsAll": found}

    def account(self) -> str:
        return self.client("sts").get_caller_identity()["Account"]

    def arn(self, owner: str, path: str) -> str:
        return f"arn:aws:ec2:{self.region}:{owner}:{path}"


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def is_gone(error: Exception) -> bool:
    return isinstance(error, ClientError) and "NotFound" in error.response["Error"]["Code"]


def _is_in_use(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in IN_USE


def one(call: Callable[..., dict[str, Any]], key: str, **arguments: Any) -> dict[str, Any] | None:
    """Describe one thing; None if it is gone."""
    try:
        found = call(**arguments)[key]
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return found[0] if found else None


def remove(call: Callable[..., Any], **arguments: Any) -> None:
    """Delete a thing, gone or not, once nothing depends on it."""
    remove_when_free(lambda: call(**arguments), is_gone, _is_in_use)


def failure(error: Exception) -> Exception:
    if isinstance(error, ClientError):
        said, operation = error.response["Error"], error.operation_name
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return Failure(f"operation error {operation}: StatusCode: {status}, {said.get('Code')}: {said.get('Message')}")
    return Failure(f"{type(error).__name__}: {error}") if isinstance(error, BotoCoreError) else error


def present(**arguments: Any) -> dict[str, Any]:
    """Leave out what was not given: botocore refuses None."""
    return {name: value for name, value in arguments.items() if value is not None}
