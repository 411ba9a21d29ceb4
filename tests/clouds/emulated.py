"""A stack over emulated clouds: its work tree, and the clouds' processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.clouds.serving import CloudProcess
from tests.lab.worktree import ROOT, WorkTree

PROJECT = "vcubev"


class EmulatedStack:
    """A work tree with a stack file of its own, whose program finds emulated clouds where it looks for real ones."""

    def __init__(self, directory: Path, stack: str, source: str = "threeclouds") -> None:
        self.tree = WorkTree(directory, stack)
        yaml = YAML()
        written = yaml.load((ROOT / "stacks" / f"Pulumi.{source}.yaml").read_text())
        written.pop("encryptionsalt", None)
        yaml.dump(written, self.tree.file)
        self.log = directory / "clouds.log"
        name = f"{PROJECT}.{stack}"
        self.aws = CloudProcess("tests.clouds.aws_cloud", name, self.log)
        self.linode = CloudProcess("tests.clouds.linode_cloud", name, self.log)
        state = directory / "backend"
        state.mkdir(exist_ok=True)
        self.tree.environment |= {
            # As a user of real clouds, who has chosen where the state lies.
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_CONFIG_PASSPHRASE": "emulated",
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated-secret-key",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LINODE_URL": self.linode.url,
            "LINODE_TOKEN": "emulated-token",
        }

    def things(self) -> dict[str, dict[str, list[str]]]:
        """Return all that either cloud still holds."""
        held = {"aws": self.aws.things(), "linode": self.linode.things()}
        return {cloud: things for cloud, things in held.items() if things}

    def up(self) -> Any:
        return self.tree.script("up", self.tree.stack, "--yes")

    def down(self) -> Any:
        return self.tree.script("down", self.tree.stack, "--yes")

    def end(self) -> None:
        """Stop the clouds, which takes their machines away, and sweep what is left."""
        try:
            for cloud in (self.aws, self.linode):
                cloud.stop()
        finally:
            self.tree.lab("sweep")
