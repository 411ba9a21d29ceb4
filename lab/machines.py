"""Machines of the lab, as a cloud's API would offer them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from subprocess import Popen

from lab import containers, image, router, underlay
from lab.addresses import lease
from lab.networks import network_of, remove_machine, remove_unfinished
from lab.records import Machine, Stack, change, free_number, load, new_id
from lab.system import LabError, require


@dataclass(frozen=True)
class MachineState:
    """What the cloud says of a machine. It runs when its init does and its link to the router is there."""

    instance_id: str
    address: IPv4Address  # the public one, if it has one
    private_address: IPv4Address | None
    public: bool
    running: bool


def create_machine(
    project: str,
    stack_name: str,
    name: str,
    network_id: str,
    firewall_id: str,
    image_name: str,
    user_data: str,
    public: bool,
) -> MachineState:
    """Make and boot a machine, in place of one of that name that a broken-off run left.

    Returns when its init runs; like a cloud, it does not wait for sshd.
    """
    require()
    image_path = image.ensure(image_name)
    with change(project, stack_name) as stack:
        remove_unfinished(stack)
        network = stack.network(network_id)
        if name in stack.machines:
            remove_machine(stack, name)
        live = [known for known, machine in stack.machines.items() if machine.network_id == network_id]
        address, private_address = lease(network, name, public, live)
        machine = Machine(
            id=new_id("i"),
            number=free_number(known.number for known in stack.machines.values()),
            network_id=network_id,
            firewall_id=firewall_id,
            image=image_name,
            image_path=image_path,
            public=public,
            address=address,
            private_address=private_address,
        )
        stack.machines[name] = machine
        stack.save()
        containers.make_disk(stack, machine, containers.hostname_of(name), user_data)
        starter = _boot(stack, name, machine)
        machine.whole = True
        stack.save()
    # Outside the lock, so that machines boot side by side.
    containers.await_boot(stack, machine, starter)
    return _state(stack, machine)


def read_machine(project: str, stack_name: str, instance_id: str) -> MachineState | None:
    """Return a machine as it is; None if it or its disk is gone."""
    stack = load(project, stack_name)
    for machine in stack.machines.values():
        disk = stack.machine_directory(machine) / "upper"
        if machine.id == instance_id and machine.whole and disk.is_dir():
            return _state(stack, machine)
    return None


def update_machine(project: str, stack_name: str, instance_id: str, firewall_id: str) -> MachineState:
    """Put a machine behind a firewall, and start it from its own disk if it does not run."""
    require()
    with change(project, stack_name) as stack:
        name, machine = _by_id(stack, instance_id)
        machine.firewall_id = firewall_id
        _apply(stack, machine)
        starter = None if is_running(stack, machine) else _boot(stack, name, machine)
    if starter:
        containers.await_boot(stack, machine, starter)
    return _state(stack, machine)


def delete_machine(project: str, stack_name: str, instance_id: str) -> None:
    """Shut a machine down and remove it; that it is dead, half-made or gone already is no error."""
    stack = load(project, stack_name)
    for machine in stack.machines.values():
        if machine.id == instance_id:
            containers.stop(stack.namespace(machine))
    with change(project, stack_name) as stack:
        for name in [name for name, machine in stack.machines.items() if machine.id == instance_id]:
            network = network_of(stack, stack.machines[name])
            remove_machine(stack, name)
            if network is not None and underlay.exists(stack.router(network)):
                router.apply(stack, network)
        stack.save()


def power_off(project: str, stack_name: str, name: str) -> None:
    """Pull a machine's plug."""
    with change(project, stack_name) as stack:
        containers.kill(stack.namespace(named(stack, name)))


def start(project: str, stack_name: str, name: str) -> None:
    """Start a machine from its own disk; one that runs is left alone."""
    machine = named(load(project, stack_name), name)
    update_machine(project, stack_name, machine.id, machine.firewall_id)


def terminate(project: str, stack_name: str, name: str) -> None:
    """Lose a machine and its disk, as a cloud may; the engine finds out at its next refresh."""
    with change(project, stack_name) as stack:
        named(stack, name)
        remove_machine(stack, name)


def named(stack: Stack, name: str) -> Machine:
    """Return a machine by its resource name.

    Raises:
        LabError: There is none.
    """
    if name not in stack.machines:
        raise LabError(f"stack {stack.name} has no machine {name!r}. It has: {', '.join(sorted(stack.machines))}.")
    return stack.machines[name]


def is_running(stack: Stack, machine: Machine) -> bool:
    network = network_of(stack, machine)
    return (
        network is not None
        and containers.leader(stack.namespace(machine)) is not None
        and underlay.exists(stack.namespace(machine))
        and underlay.has_link(stack.router(network), f"m{machine.number}")
    )


def _by_id(stack: Stack, instance_id: str) -> tuple[str, Machine]:
    for name, machine in stack.machines.items():
        if machine.id == instance_id:
            return name, machine
    raise LabError(f"machine {instance_id} is not in the lab any more: run `pulumi up --refresh`.")


def _boot(stack: Stack, name: str, machine: Machine) -> Popen[bytes]:
    network = stack.network(machine.network_id)
    containers.kill(stack.namespace(machine))
    underlay.add_machine(stack, network, machine)
    router.apply(stack, network)
    if any(name in other.cut_from for other in stack.machines.values()):
        # One that was made anew may have another address.
        router.apply_everywhere(stack)
    return containers.start(stack, machine, containers.hostname_of(name))


def _apply(stack: Stack, machine: Machine) -> None:
    network = network_of(stack, machine)
    if network is not None and underlay.exists(stack.router(network)):
        router.apply(stack, network)
    stack.save()


def _state(stack: Stack, machine: Machine) -> MachineState:
    private = machine.private_address if machine.public else machine.address
    return MachineState(machine.id, machine.address, private, machine.public, is_running(stack, machine))
