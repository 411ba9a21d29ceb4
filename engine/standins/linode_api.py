"""How the `linode` stand-in calls Linode: linode_api4's client, which retries what is throttled or passing."""

from __future__ import annotations

from typing import Any

from linode_api4 import ApiError, LinodeClient, UnexpectedResponseError
from requests import RequestException

from .awaiting import remove_when_free
from .properties import Failure


class LinodeApi:
    """Verbs on paths, as the API's description lists them; bodies and answers are plain Python."""

    def __init__(self, token: str, url: str) -> None:
        self._client = LinodeClient(token, base_url=url, retry_rate_limit_interval=1.0, retry_max=8)

    def get(self, path: str) -> dict[str, Any] | None:
        """Return what is at a path; None if nothing is."""
        try:
            return self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def every(self, path: str) -> list[dict[str, Any]]:
        """Return all pages of a list; an empty one if what holds it is gone."""
        found: list[dict[str, Any]] = []
        page = 1
        while answer := self.get(f"{path}?page={page}&page_size=500"):
            found += answer["data"]
            if page >= answer["pages"]:
                break
            page += 1
        return found

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        return self._client.post(path, data=body)

    def put(self, path: str, **body: Any) -> dict[str, Any]:
        return self._client.put(path, data=body)

    def remove(self, path: str) -> None:
        """Delete, gone or not, once nothing depends on it."""
        remove_when_free(lambda: self._client.delete(path), _is_gone, _is_in_use)


def _is_gone(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.status == 404


def _is_in_use(error: Exception) -> bool:
    refused = isinstance(error, ApiError) and error.status in (400, 409)
    return refused and any(word in str(error) for word in ("busy", "attached", "in use"))


def failure(error: Exception) -> Exception:
    if isinstance(error, ApiError):
        reasons = [
            f"{said.get('field')}: {said['reason']}" if said.get("field") else said["reason"]
            for said in (error.json or {}).get("errors", [])
            if isinstance(said, dict)
        ]
        return Failure(f"[{error.status:03d}] {'; '.join(reasons) or error}")
    if isinstance(error, UnexpectedResponseError):
        return Failure(f"[{error.status:03d}] {error}")
    return Failure(f"{type(error).__name__}: {error}") if isinstance(error, RequestException) else error


def given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
