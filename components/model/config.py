"""From the engine's flat configuration to the values that `stackfile.load` checks."""

from __future__ import annotations

import json
from collections.abc import Mapping

NAMESPACE = "vcubev:"


def config_values(config: Mapping[str, str]) -> dict[str, object]:
    """Return the `vcubev:` part of a stack's configuration, structures decoded.

    Args:
        config: The engine's view: "namespace:key" to text, structures as JSON.
    """
    return {key.removeprefix(NAMESPACE): _decoded(text) for key, text in config.items() if key.startswith(NAMESPACE)}


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a plain string is not JSON; the checker names it if a structure was due
