"""How the `linode` stand-in calls Linode: linode_api4's client, which retries what is throttled or passing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from linode_api4 import ApiError, LinodeClient, UnexpectedResponseError
from requests import RequestException

from .properties import Failure

POLL_SECONDS = 0.5
# A machine that is going still holds its subnet for some seconds.
DEPENDENCY_SECONDS = 60
TRANSITION_SECONDS = 300


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
        """Delete; that it is gone already is no error, and what still depends on it is waited for."""
        deadline = time.monotonic() + DEPENDENCY_SECONDS
        while True:
            try:
                self._client.delete(path)
                return
            except ApiError as error:
                if error.status == 404:
                    return
                busy = error.status in (400, 409) and any(word in str(error) for word in ("busy", "attached", "in use"))
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)


def await_state(look: Callable[[], Any], reached: Callable[[Any], bool], what: str) -> Any:
    """Look until a thing is as wanted.

    Raises:
        Failure: It was not in time.
    """
    deadline = time.monotonic() + TRANSITION_SECONDS
    while not reached(found := look()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not in {TRANSITION_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return found


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
