"""All sites, their links and the one CA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi import ComponentResource, Output, ResourceOptions

from components.clouds import Account
from components.host import Host
from components.link import Link
from components.machine import LOGIN_USER, Machine
from components.model.topology import SSH_PORT, Topology
from components.pki import Authority
from components.site import Site, SiteArgs
from components.unmanaged import Unmanaged

HOST_GROUPS = ("hosts", "unmanaged")


@dataclass(frozen=True)
class MeshArgs:
    """The whole network, as `components.model.stackfile.load` returns it."""

    topology: Topology
    # Site name -> its provider instance, as `components.clouds.sign_in` makes them; without, the engine's default ones.
    accounts: Mapping[str, Account] = field(default_factory=dict)
    # The hosts that a run is about, where the engine leaves all others alone: see `components.targeted`.
    only: frozenset[str] | None = None


class Mesh(ComponentResource):
    """One flat, encrypted network over all sites of a topology."""

    def __init__(self, name: str, args: MeshArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Mesh", name, None, opts)
        child = ResourceOptions(parent=self)
        self._topology = topology = args.topology
        self.authority = Authority(f"{name}-ca", topology, child)
        self.sites: dict[str, Site] = {}
        changed_last = None
        for site in topology.sites:
            # One hub after the other: hosts move off the one that changes, and the others must be there to take them.
            account = args.accounts.get(site.name, Account())
            site_args = SiteArgs(site, topology, self.authority, account, changed_last)
            own = ResourceOptions(parent=self, providers=list(account.providers))
            self.sites[site.name] = Site(f"{name}-{site.name}", site_args, own)
            changed_last = ([changed_last] + [hub.installed for hub in self.sites[site.name].hubs])[-1]
        self.hubs = {hub.view.key: hub for site in self.sites.values() for hub in site.hubs}
        self.links = [
            Link(f"{name}-link-{link.name}", link, self.hubs[link.listener.key], self.hubs[link.dialer.key], child)
            for link in topology.links
        ]
        hosts = [host for host in topology.hosts if args.only is None or host.name in args.only]
        self.hosts: dict[str, Host] = {
            host.name: self.sites[host.site].place(f"{name}-{host.name}", host, self.sites[host.hub_site].hubs)
            for host in hosts
            if not host.unmanaged
        }
        self.unmanaged = {
            host.name: Unmanaged(f"{name}-{host.name}", host, topology.names_of(host), self.authority, child)
            for host in hosts
            if host.unmanaged
        }
        self.authority.remember()
        self.register_outputs({})

    def stack_outputs(self) -> dict[str, object]:
        """Return what a stack exports: the inventory that people and scripts read."""
        hubs = {
            key: {
                "id": hub.view.id,
                "site": hub.view.site,
                "ipv4": str(hub.view.address.ipv4),
                "ipv6": str(hub.view.address.ipv6),
                "ssh": self._ssh(hub.machine, ""),
            }
            for key, hub in self.hubs.items()
        }
        hosts = {
            name: {
                "site": host.view.site,
                "role": host.view.role,
                "private": host.view.private,
                "ipv4": str(host.view.address.ipv4),
                "ipv6": str(host.view.address.ipv6),
                "ssh": self._ssh(
                    host.machine, self.sites[host.view.hub_site].hubs[0].view.key if host.view.private else ""
                ),
            }
            for name, host in self.hosts.items()
        }
        unmanaged = {
            name: {
                "site": host.view.site,
                "role": host.view.role,
                "ipv4": str(host.view.address.ipv4),
                "ipv6": str(host.view.address.ipv6),
            }
            for name, host in self.unmanaged.items()
        }
        return {
            "hubs": hubs,
            "hosts": hosts,
            **({"unmanaged": unmanaged} if unmanaged else {}),
            # Only where it is so: a stack made before there was this output shows no change.
            **({} if self._topology.policy.answers_pings else {"pings": False}),
            "login": {"user": LOGIN_USER, "private_key": self.authority.login.private},
            "certificates": self.authority.lives(),
            "keys": self._keys_in_force(),
        }

    async def outputs_with_others(self) -> Mapping[str, object]:
        """Return the stack's outputs after a run for some hosts only: theirs are new, all else is as it was before.

        Raises:
            pulumi.RunError: The stack was never made, or the engine would delete a host that the run is not about.
        """
        before, own = await self.authority.outputs_before(), self.stack_outputs()
        if not before:
            raise pulumi.RunError("Single hosts can be made once the stack has been: leave the targets out.")
        declared = {host.name: host for host in self._topology.hosts}
        made = [declared[name] for name in (*self.hosts, *self.unmanaged)]
        new = {name for host in made for name in (host.name, *host.formerly)}
        others = {
            group: {name: its for name, its in before.get(group, {}).items() if name not in new}
            for group in HOST_GROUPS
        }
        begin = tuple(f"{host.name}-" for host in made)
        left = {name for its in others.values() for name in its} - declared.keys()
        if gone := sorted(name for name in left if name.startswith(begin)):
            told = f"The targets fit {', '.join(gone)} too, no longer in the stack file: run once without targets."
            raise pulumi.RunError(told)
        hosts = {group: its for group in HOST_GROUPS if (its := others[group] | dict(own.get(group, {})))}
        return {**before, **hosts, "login": own["login"]}

    def _keys_in_force(self) -> Output[dict[str, object]]:
        """Return the generations of keys once all machines have them: what scripts/rotate goes on from."""
        keys = self._topology.keys
        told = {"authority": list(keys.authority), "login": list(keys.login)}
        told |= {name: list(generations) for name, generations in sorted(keys.members.items())}
        installed = [member.installed.id for member in (*self.hubs.values(), *self.hosts.values())]
        return Output.all(*installed).apply(lambda _: told)

    def _ssh(self, machine: Machine, gateway: str) -> dict[str, object]:
        access: dict[str, object] = {"address": machine.address, "host_key": machine.host_key, "gateway": gateway}
        return access if machine.vm.ssh_port == SSH_PORT else {**access, "port": machine.vm.ssh_port}
