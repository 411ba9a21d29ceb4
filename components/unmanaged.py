"""A host that joins by a file: a laptop, or a machine that nobody logs in to. Only its identity is made."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi import ComponentResource, ResourceOptions

from components.model.topology import HostView
from components.pki import HOST_USES, Authority


class Unmanaged(ComponentResource):
    """Certificate and key. `vcubev join-bundle` reads them from the state and writes the file."""

    def __init__(
        self,
        name: str,
        host: HostView,
        names: Sequence[str],
        authority: Authority,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("vcubev:index:Unmanaged", name, None, opts)
        self.view = host
        opts = ResourceOptions(parent=self)
        self.identity = authority.issue(name, host.common_name, host.address, HOST_USES, opts, names)
        self.register_outputs({"address": str(host.address.ipv4)})
