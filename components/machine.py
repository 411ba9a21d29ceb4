"""One machine: launched, reached over SSH with a verified host key, and given its files.

The only place where Outputs become text and files reach machines.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi_tls as tls
from pulumi import ComponentResource, CustomTimeouts, Input, Output, Resource, ResourceOptions, Stash
from pulumi_command import remote

from components.clouds import CloudApi, Firewall, MachineSpec, SiteNetwork, VirtualMachine
from components.model.boot import (
    FIRST_CONTACT,
    authorized,
    cloud_config,
    first_contact_script,
    leave_script,
    prepare_script,
)
from components.model.bundle import RUN_INSTALLER, pack
from components.model.files import FileSpec
from components.model.metrics import METRICS_UNITS, metrics_files
from components.model.policy import Policy, Service
from components.model.render import service_files
from components.model.topology import SSH_PORT, BroughtMachine, HostView, HubView, Overlay
from components.pki import Authority

LOGIN_USER = "vcubev"
THIS_RUN = uuid.uuid4().hex
# A cloud's machine may take minutes to boot, and then minutes more to install packages.
BOOT_SECONDS, CLOUD_INIT_SECONDS = 300, 300
# One that was there before may be restarting.
DIAL_ERROR_LIMIT = 60
# pulumi-command's pauses between tries.
FIRST_PAUSE_SECONDS, PAUSE_GROWTH, LONGEST_PAUSE_SECONDS = 0.1, 1.5, 5.0
# SSH itself waits for ever on a machine that has gone silent.
TIMEOUTS = CustomTimeouts(create="10m", update="10m", delete="3m")


@dataclass(frozen=True)
class MachineArgs:
    """What one machine is made of."""

    cloud: CloudApi
    network: SiteNetwork
    firewall: Firewall
    authority: Authority
    packages: tuple[str, ...]
    public: bool
    gateway: Machine | None = None  # the hub through which a machine with no public address is reached
    size: str | None = None
    image: str | None = None
    boot_seconds: int | None = None
    zone: int = 0
    is_hub: bool = False  # forwards, stands apart from its like, and is made anew only when its turn comes
    after: Resource | None = None  # what comes before its turn
    is_gateway: bool = False
    brought: BroughtMachine | None = None
    launch_after: tuple[Resource, ...] = ()


class Machine(ComponentResource):
    """A VM with a host key of its own making.

    The key in user_data (ECDSA) is good for the first contact only: that command makes a fresh ED25519 key, which
    every later one pins. Two key types, so that sshd serves both until the first installation takes the seeded one
    away, and an `up` broken off in between can simply be run again (docs/adr/0003-first-contact.md).
    """

    vm: VirtualMachine
    address: Output[str]  # where SSH reaches it: public, or private through the gateway
    host_key: Output[str]  # "ssh-ed25519 AAAA..."

    def __init__(self, name: str, args: MachineArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Machine", name, None, opts)
        self._name, self._args = name, args
        seeded = tls.PrivateKey(
            f"{name}-seed", algorithm="ECDSA", ecdsa_curve="P256", opts=ResourceOptions(parent=self)
        )
        # user_data is constant, and so is the login key in it: good for the first contact only, which writes down those
        # that are accepted by then.
        first_login = Stash(
            f"{name}-first-login",
            input={"public": args.authority.login.public, "private": args.authority.login.private},
            opts=ResourceOptions(parent=self, ignore_changes=["input"]),
        ).output
        user_data = Output.all(
            packages=args.packages,
            login_user=LOGIN_USER,
            login_public_key=first_login["public"],
            ssh_host_private_key=seeded.private_key_openssh,
            ssh_host_public_key=seeded.public_key_openssh,
            boot_commands=[] if args.public else args.network.private_boot_commands,
        ).apply(lambda values: cloud_config(**values))
        self.vm = self._launch(Output.secret(user_data))
        self.address = self.vm.public_address if args.public else self.vm.private_address
        # As things stood when this instance was made. Once its seeded key is gone the command can never run again, so
        # nothing that changes later (the gateway's key, this program) may ask for it.
        met = Stash(
            f"{name}-met",
            input=self._first_contact(seeded.public_key_openssh, first_login),
            opts=ResourceOptions(parent=self, replacement_trigger=self.vm.instance_id),
        )
        first_contact = remote.Command(
            f"{name}-first-contact",
            connection=met.output["connection"],
            create=met.output["create"],
            triggers=[self.vm.instance_id],
            add_previous_output_in_env=False,
            logging=remote.Logging.NONE,
            opts=ResourceOptions(
                parent=self,
                depends_on=list(self.vm.ready),
                deleted_with=self.vm.resource,
                # Tries that nobody answers at all take longer than those that are refused, so their number is no limit.
                custom_timeouts=CustomTimeouts(create=f"{self._boot_seconds + CLOUD_INIT_SECONDS}s", delete="3m"),
            ),
        )
        self.host_key = first_contact.stdout.apply(lambda text: text.strip())
        self.register_outputs({"address": self.address, "host_key": self.host_key})

    def install(
        self,
        name: str,
        bundle: str,
        render: Callable[..., Mapping[str, FileSpec]],
        values: Mapping[str, Input[object]],
        units: tuple[str, ...],
        opts: ResourceOptions,
        remove: bool = False,
        rolling: bool = False,
        stays: bool = False,
        packages: tuple[str, ...] = (),
    ) -> remote.Command:
        """Put rendered files on the machine and start what they configure.

        Args:
            name: The engine's resource name.
            bundle: Names the set on the machine; a file that leaves the set is deleted there.
            render: A pure function of `values` that returns path -> file.
            units: systemd units to enable and start, in order.
            remove: Whether deleting the resource takes the files away again from a machine that lives on.
            rolling: Whether the machine is a hub that its hosts must leave before anything on it restarts.
            stays: Whether the files go only with the whole machine's: later than those that need them.
            packages: What the machine was launched with, and must still have.
        """
        secret = Output.secret(dict(values)).apply(
            lambda known: pack(bundle, render(**known), units, rolling, packages)
        )
        return remote.Command(
            name,
            connection=self._connection(self.host_key),
            create=RUN_INSTALLER + "install",
            delete=None if stays else self._removal(remove),
            stdin=secret,
            # No triggers: a new instance has a new host key, and a changed connection asks for an update, which
            # installs again. A replacement would then run `delete`, on the machine that has just got its files.
            add_previous_output_in_env=False,
            logging=remote.Logging.NONE,
            opts=ResourceOptions.merge(opts, ResourceOptions(deleted_with=self.vm.resource, custom_timeouts=TIMEOUTS)),
        )

    def open_services(self, name: str, kind: str, services: Sequence[Service], parent: Resource) -> list[Resource]:
        """Put services' rules on the machine, each a bundle of its own: another service changes none of them.

        They come before the machine's main bundle, which begins to let traffic in.
        """
        opts = ResourceOptions(parent=parent)
        return [
            self.install(
                f"{name}-service-{service.name}",
                f"service-{service.name}",
                partial(service_files, kind, service),
                {},
                (),
                opts,
                remove=True,
            )
            for service in services
        ]

    def serve_metrics(
        self,
        name: str,
        kind: str,
        member: HubView | HostView,
        overlay: Overlay,
        policy: Policy,
        opts: ResourceOptions,
        direct: bool = False,
    ) -> None:
        """Let those who may ask this member for its metrics, where the stack file names any."""
        if policy.metrics is not None:
            render = partial(metrics_files, kind, member, overlay, policy.metrics, direct)
            self.install(f"{name}-metrics", "metrics", render, {}, METRICS_UNITS, opts, remove=True)

    @property
    def _boot_seconds(self) -> int:
        return self._args.boot_seconds or BOOT_SECONDS

    def _turn(self) -> Input[list[Resource]]:
        """Return what must be done before this machine may be made, or for a hub made anew.

        The state keeps the run that first made it: all machines of a new network are made side by side, and from
        then on one replacement waits for the other.
        """
        args = self._args
        first = list(args.launch_after)
        if not args.is_hub:
            return first
        opts = ResourceOptions(parent=self, ignore_changes=["input"])
        first_made_in = Stash(f"{self._name}-first-made", input=THIS_RUN, opts=opts).output
        anew = [*first, args.after] if args.after else first
        return first_made_in.apply(lambda run: first if run == THIS_RUN else anew)

    def _launch(self, user_data: Output[str]) -> VirtualMachine:
        args = self._args
        spec = MachineSpec(
            public=args.public,
            firewall=args.firewall,
            user_data=user_data,
            size=args.size,
            image=args.image,
            boot_seconds=args.boot_seconds,
            zone=args.zone,
            apart=args.is_hub,
            forwards=args.is_hub,
            gateway=args.is_gateway,
            brought=args.brought,
        )
        opts = ResourceOptions(parent=self, depends_on=self._turn())
        return args.cloud.launch(self._name, args.network, spec, opts)

    def _first_contact(self, seeded_host_key: Output[str], login: Output[Any]) -> dict[str, Input[object]]:
        """Return how a machine is met: as cloud-init has prepared it, or as the user has."""
        access, accepted = self.vm.access, self._args.authority.accepted_logins
        tries = _tries_within(self._boot_seconds)
        if access is None:
            connection = self._connection(seeded_host_key, private_key=login["private"], tries=tries)
            script = Output.all(login["public"], accepted).apply(lambda keys: first_contact_script(LOGIN_USER, *keys))
            return {"connection": connection, "create": script}
        prepare = accepted.apply(lambda keys: prepare_script(LOGIN_USER, self._args.packages, authorized(keys)))
        connection = self._connection(access.host_key, access.user, access.private_key, tries)
        return {"connection": connection, "create": prepare.apply(lambda text: text + FIRST_CONTACT)}

    def _removal(self, remove: bool) -> str | None:
        """Return what deleting a bundle runs. Only a machine that lives on has anything to remove."""
        if self.vm.resource is not None:
            return RUN_INSTALLER + "remove" if remove else None
        leave = "" if remove else "\n" + leave_script(LOGIN_USER)
        return "set -e\n" + RUN_INSTALLER + "remove" + leave

    def _connection(
        self,
        host_key: Input[str],
        user: str = LOGIN_USER,
        private_key: Input[str] | None = None,
        tries: int = DIAL_ERROR_LIMIT,
    ) -> remote.ConnectionArgs:
        gateway = self._args.gateway
        own_login = private_key is None and user == LOGIN_USER
        proxy = None
        if gateway is not None:
            proxy = remote.ProxyConnectionArgs(
                host=gateway.address,
                port=_unusual(gateway.vm.ssh_port),
                user=LOGIN_USER,
                private_key=self._args.authority.login.private,
                host_key=gateway.host_key,
                dial_error_limit=DIAL_ERROR_LIMIT,
            )
        return remote.ConnectionArgs(
            host=self.address,
            port=_unusual(self.vm.ssh_port),
            user=user,
            # A user of the machine's own has a key that is given, or what the SSH agent holds.
            private_key=self._args.authority.login.private if own_login else private_key,
            host_key=host_key,
            dial_error_limit=tries,
            proxy=proxy,
        )


def _tries_within(seconds: float) -> int:
    """Return after how many tries, each refused at once, this time has passed."""
    tries, pause = 0, FIRST_PAUSE_SECONDS
    while seconds > 0:
        tries, seconds, pause = tries + 1, seconds - pause, min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
    return tries


def _unusual(port: int) -> int | None:
    return None if port == SSH_PORT else port
