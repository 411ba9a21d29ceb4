"""One hub: the OpenVPN server that hosts come in by, which also routes between sites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pulumi import ComponentResource, Output, Resource, ResourceOptions

from components.clouds import CloudApi, Firewall, SiteNetwork
from components.machine import LOGIN_USER, Machine, MachineArgs
from components.model.boot import login_files
from components.model.direct import direct_wall
from components.model.policy import Policy
from components.model.render import HUB_PACKAGES, hub_files, hub_pki_files, hub_units
from components.model.topology import HubView, Overlay, SiteView
from components.pki import HUB_USES, Authority


@dataclass(frozen=True)
class HubArgs:
    """What one hub is made of."""

    hub: HubView
    site: SiteView
    overlay: Overlay
    policy: Policy
    cloud: CloudApi
    network: SiteNetwork
    firewall: Firewall
    authority: Authority
    direct: bool = False  # lets hosts arrange tunnels of their own
    after: Resource | None = None  # the hub before this one, installed: no two change at once


class Hub(ComponentResource):
    """VM, certificate, OpenVPN, BIRD and nftables. Its files name no host and no link: both come and go without it."""

    machine: Machine
    endpoint: Output[str]  # underlay address, e.g. "203.0.113.7"
    inner: Output[str]  # in its site's own network, e.g. "172.30.1.5"; "" if it has none there

    def __init__(self, name: str, args: HubArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Hub", name, None, opts)
        child = ResourceOptions(parent=self)
        self.view = args.hub
        self.machine = Machine(
            name,
            MachineArgs(
                cloud=args.cloud,
                network=args.network,
                firewall=args.firewall,
                authority=args.authority,
                packages=HUB_PACKAGES,
                public=True,
                size=args.hub.size or args.site.size,
                image=args.hub.image or args.site.image,
                boot_seconds=args.site.boot_seconds,
                zone=args.hub.zone,
                is_hub=True,
                is_gateway=args.site.network.nat == "hub" and args.hub == args.site.gateway,
                brought=args.hub.machine,
                after=args.after,
            ),
            child,
        )
        services = self.machine.open_services(name, "hub", args.policy.pieces(), self)
        identity = args.authority.issue(name, args.hub.common_name, args.hub.address, HUB_USES, child)
        # A bundle of its own: a certificate that is revoked drains no hub and restarts nothing.
        refusals = self.machine.install(
            f"{name}-crl",
            "crl",
            args.authority.refusal_files,
            args.authority.refusals(identity),
            (),
            child,
            stays=True,
        )
        self.installed = self.machine.install(
            f"{name}-install",
            "hub",
            lambda endpoint, inner, gateway_for, logins, **pki: {
                **login_files(LOGIN_USER, logins),
                **hub_files(args.hub, args.overlay, endpoint, args.policy, gateway_for, inner),
                **hub_pki_files(**pki),
            },
            {
                "endpoint": self.machine.address,
                "inner": self.machine.vm.private_address,
                "logins": args.authority.accepted_logins,
                "gateway_for": args.site.underlay if args.site.network.nat == "hub" else None,
                "ca_pem": args.authority.certificate_pem,
                "certificate_pem": identity.certificate_pem,
                "key_pem": identity.key_pem,
                "tls_crypt_v2_server_key": args.authority.hub_channel_key(),
                "link_key": args.authority.link_channel_key(),
            },
            hub_units(args.hub),
            # Nobody comes in before the hub knows whom to refuse and what to let through.
            ResourceOptions(parent=self, depends_on=[refusals, *services, *([args.after] if args.after else [])]),
            rolling=True,
            packages=HUB_PACKAGES,
        )
        after = ResourceOptions(parent=self, depends_on=[self.installed])
        self.machine.serve_metrics(name, "hub", args.hub, args.overlay, args.policy, after)
        if args.direct and args.policy.enforced:
            self.machine.install(
                f"{name}-direct", "direct", partial(direct_wall, args.overlay), {}, (), after, remove=True
            )
        self.endpoint, self.inner = self.machine.address, self.machine.vm.private_address
        self.register_outputs({"endpoint": self.endpoint})
