"""One link: the tunnel between two hubs, and the routing session over it."""

from __future__ import annotations

from pulumi import ComponentResource, ResourceOptions

from components.hub import Hub
from components.model.render import link_files
from components.model.topology import LinkView


class Link(ComponentResource):
    """The two ends of a link. Each end is a bundle of its own, so a new link changes nothing that its hubs have."""

    def __init__(
        self, name: str, link: LinkView, listener: Hub, dialer: Hub, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("vcubev:index:Link", name, None, opts)
        for side, own, peer in (("listener", listener, dialer), ("dialer", dialer, listener)):
            own.machine.install(
                f"{name}-{side}",
                f"link-{peer.view.id}",
                link_files,
                {
                    "own": own.view,
                    "peer": peer.view,
                    "link": link,
                    "peer_endpoint": peer.endpoint,
                    "own_inner": own.inner,
                    "peer_inner": peer.inner,
                },
                (f"vcubev-link@{peer.view.id}.service",),
                ResourceOptions(parent=self, depends_on=[own.installed]),
                remove=True,
            )
        self.register_outputs({})
