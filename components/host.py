"""One host: a member machine of the overlay, which keeps its virtual address for life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pulumi import ComponentResource, Resource, ResourceOptions

from components.clouds import CloudApi, Firewall, SiteNetwork
from components.hub import Hub
from components.machine import LOGIN_USER, Machine, MachineArgs
from components.model.boot import login_files
from components.model.direct import DIRECT_UNITS, direct_files
from components.model.nearest import NEAREST_UNITS, nearest_files, nearest_service_files, nearest_services
from components.model.policy import Policy
from components.model.render import HOST_PACKAGES, HOST_UNITS, host_files, host_pki_files
from components.model.topology import HostView, Overlay, SiteView
from components.pki import HOST_USES, Authority


@dataclass(frozen=True)
class HostArgs:
    """What one host is made of."""

    host: HostView
    site: SiteView
    overlay: Overlay
    policy: Policy
    cloud: CloudApi
    network: SiteNetwork
    firewall: Firewall
    authority: Authority
    names: Sequence[str]  # in full
    own_hubs: Sequence[Hub]  # of its site: from them it hears of all others
    gateway: Machine  # the hub through which SSH reaches a private host
    direct: bool = False  # it has tunnels to other hosts as well
    launch_after: tuple[Resource, ...] = ()  # what gives a private host the internet


class Host(ComponentResource):
    """VM, certificate and two OpenVPN clients, each to another hub."""

    machine: Machine

    def __init__(self, name: str, args: HostArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Host", name, None, opts)
        child = ResourceOptions(parent=self)
        self.view = args.host
        self.machine = Machine(
            name,
            MachineArgs(
                cloud=args.cloud,
                network=args.network,
                firewall=args.firewall,
                authority=args.authority,
                packages=HOST_PACKAGES,
                public=not args.host.private,
                gateway=args.gateway if args.host.private else None,
                size=args.site.size,
                image=args.site.image,
                boot_seconds=args.site.boot_seconds,
                zone=args.host.zone,
                brought=args.host.machine,
                launch_after=args.launch_after if args.host.private else (),
            ),
            child,
        )
        services = self.machine.open_services(name, "host", args.policy.pieces(args.host.address.ipv4), self)
        identity = args.authority.issue(name, args.host.common_name, args.host.address, HOST_USES, child, args.names)
        views = [hub.view for hub in args.own_hubs]
        self.installed = self.machine.install(
            f"{name}-install",
            "host",
            lambda endpoints, inner, logins, **pki: {
                **login_files(LOGIN_USER, logins),
                **host_files(
                    args.host, args.overlay, list(zip(views, endpoints, inner, strict=True)), args.policy, args.direct
                ),
                **host_pki_files(**pki),
            },
            {
                "endpoints": [hub.endpoint for hub in args.own_hubs],
                "inner": [hub.inner for hub in args.own_hubs],
                "logins": args.authority.accepted_logins,
                "ca_pem": args.authority.certificate_pem,
                "certificate_pem": identity.certificate_pem,
                "key_pem": identity.key_pem,
                "tls_crypt_v2_client_key": args.authority.host_channel_key(identity),
            },
            HOST_UNITS,
            ResourceOptions(parent=self, depends_on=[*services, *(hub.installed for hub in args.own_hubs)]),
            packages=HOST_PACKAGES,
        )
        after = ResourceOptions(parent=self, depends_on=[self.installed])
        self.machine.serve_metrics(name, "host", args.host, args.overlay, args.policy, after, args.direct)
        self._find_nearest(name, args, after)
        if args.direct:
            self._go_direct(name, args, after)
        self.register_outputs({"address": str(args.host.address.ipv4)})

    def _go_direct(self, name: str, args: HostArgs, opts: ResourceOptions) -> None:
        """Give it tunnels to other hosts."""
        vm = self.machine.vm
        values = {
            "private_address": vm.private_address,
            "public_address": "" if args.host.private else vm.public_address,
            "certificate_pem": args.authority.issue_for_direct(
                f"{name}-direct", args.host.common_name, ResourceOptions(parent=self)
            ),
        }
        files = partial(direct_files, args.host, args.overlay, args.site.underlay)
        self.machine.install(f"{name}-direct", "direct", files, values, DIRECT_UNITS, opts, remove=True)

    def _find_nearest(self, name: str, args: HostArgs, opts: ResourceOptions) -> None:
        """Lead it to the nearest servers of services with a shared address; each is a bundle beside the agent's."""
        install = partial(self.machine.install, remove=True)
        services = nearest_services(args.policy, args.host)
        if services:
            files = partial(nearest_files, args.overlay)
            agent = install(f"{name}-nearest", "nearest", files, {}, NEAREST_UNITS, opts)
            opts = ResourceOptions.merge(opts, ResourceOptions(depends_on=[agent]))
        for service in services:
            bundle = f"nearest-{service.name}"
            render = partial(nearest_service_files, service, args.host, args.overlay, args.policy.ping)
            install(f"{name}-{bundle}", bundle, render, {}, (), opts)
