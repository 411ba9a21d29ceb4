"""What lab stacks need before an `up` and prove after a `down`."""

from __future__ import annotations

from rich.console import Console

from components.clouds.lab import FACTS
from components.model.topology import Topology
from lab import image, leftovers
from lab.records import Stack as LabStack
from lab.system import require

PROJECT = "vcubev"


def prepare(topology: Topology) -> None:
    """Build the images that a stack's machines need; tells about its progress where one is missing.

    Raises:
        LabError: This computer cannot run the lab, or there is no such image.
    """
    images = {site.image or FACTS.default_image for site in topology.sites if site.cloud == "lab"}
    if images:
        require()
    for name in sorted(images):
        image.ensure(name)


def nothing_left(console: Console, stack: str) -> bool:
    """List what of a stack is still on this computer: records, namespaces, links, routes, processes, mounts."""
    left = leftovers.find(LabStack(project=PROJECT, name=stack))
    for item in left:
        console.print(f"[red]left[/]: {item.kind} {item.what}")
    if not left:
        console.print("Nothing is left: no machine, namespace, link, route, mount, process or record.")
    return not left
