"""Start one stand-in as a plugin process: what `bin/pulumi-resource-*` run."""

from __future__ import annotations

import gc
import importlib
import sys
import types
from importlib.metadata import version

from engine.orphan import end_with_engine

# What no provider uses, and what takes 0.3 s of a start of 0.8 s: the automation API and dynamic providers (dill).
# Both plugins start at every `pulumi up`.
UNUSED = ("pulumi.automation", "pulumi.automation._server", "pulumi.dynamic")

PROVIDERS = {
    "tls": ("pulumi-tls", "engine.standins.tls", "TlsProvider"),
    "command": ("pulumi-command", "engine.standins.command", "CommandProvider"),
    "aws": ("pulumi-aws", "engine.standins.aws", "AwsProvider"),
    "linode": ("pulumi-linode", "engine.standins.linode", "LinodeProvider"),
}


def main(name: str) -> None:
    """Serve the stand-in until the engine ends the process; sys.argv[1] is the engine's own address.

    Raises:
        PackageNotFoundError: the SDK package is not installed, so there is no version to report.
    """
    end_with_engine()
    gc.disable()  # imports make much that stays and nothing to collect: a tenth of the start
    for module in UNUSED:
        sys.modules.setdefault(module, types.ModuleType(module))
    package, module, provider = PROVIDERS[name]
    # Another version than the SDK's makes the engine warn, or look for a download.
    plugin_version = version(package)
    provider_class = getattr(importlib.import_module(module), provider)
    servicer = importlib.import_module("engine.standins.servicer")
    gc.enable()
    servicer.serve(provider_class, plugin_version)
