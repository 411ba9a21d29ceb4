"""Runs a Pulumi program against an engine that only records, and prints what it declared.

    python mocked.py DIRECTORY CONFIG

A program of its own: it runs where nothing but the package is installed.
"""

import asyncio
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pulumi

directory, config = Path(sys.argv[1]), json.loads(sys.argv[2])
project = next(iter(config)).partition(":")[0]
made: dict[str, dict[str, str]] = {}


class Recorder(pulumi.runtime.Mocks):
    """Answers as if everything had been made."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made[args.name] = {"type": args.typ, "provider": args.provider.rpartition("pulumi:providers:")[2]}
        made[args.name]["provider"] = made[args.name]["provider"].partition("::")[2]
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        if args.token.endswith("readStackResourceOutputs"):
            return {"outputs": {}}
        return {"names": ["zone-a", "zone-b"], "id": "ami-1", "architecture": "arm64", "zone_ids": ["a", "b"]}


asyncio.set_event_loop(asyncio.new_event_loop())
pulumi.runtime.set_all_config(config)
# A preview: what a machine would say of itself nobody knows here.
pulumi.runtime.set_mocks(Recorder(), project=project, stack="mocked", preview=True)


@pulumi.runtime.test
def declare() -> None:
    sys.path.insert(0, str(directory))
    runpy.run_path(str(directory / "__main__.py"), run_name="__main__")


declare()
print(json.dumps(made))
