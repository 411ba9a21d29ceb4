"""Networks and firewalls of the lab, as a cloud's API would offer them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from lab import containers, router, underlay
from lab.addresses import free_public_prefix, free_stack_number
from lab.records import Firewall, Machine, Network, Rule, Stack, change, free_number, load, new_id
from lab.system import LabError, require

# Room for a router, a machine and little else; wider than /16 no site needs.
PRIVATE_PREFIX_LENS = range(16, 30)


@dataclass(frozen=True)
class NetworkState:
    """What the cloud says of a network. It runs when packets pass from the operator to its router."""

    id: str
    operator_address: IPv4Address
    public_prefix: IPv4Network
    running: bool


def parse_private_prefix(text: str) -> IPv4Network:
    """Read a private prefix.

    Raises:
        LabError: It is no prefix, or too wide or too narrow.
    """
    try:
        prefix = IPv4Network(text)
    except ValueError as error:
        raise LabError(f"private_prefix {text!r}: {error}. Give one such as 10.1.0.0/24.") from None
    if prefix.prefixlen not in PRIVATE_PREFIX_LENS:
        widest, narrowest = PRIVATE_PREFIX_LENS[0], PRIVATE_PREFIX_LENS[-1]
        raise LabError(f"private_prefix {text}: must be a /{widest} to a /{narrowest}.")
    return prefix


def create_network(project: str, stack_name: str, name: str, private_prefix: str) -> NetworkState:
    """Make a site's underlay, in place of one of that name that a broken-off run left."""
    require()
    prefix = parse_private_prefix(private_prefix)
    with change(project, stack_name) as stack:
        remove_unfinished(stack)
        if name in stack.networks:
            remove_network(stack, name)
        if stack.number < 0:
            stack.number = free_stack_number()
        network = Network(
            id=new_id("net"),
            number=free_number(known.number for known in stack.networks.values()),
            private_prefix=prefix,
            public_prefix=free_public_prefix(stack),
        )
        stack.networks[name] = network
        stack.save()
        _raise_site(stack, network)
        network.whole = True
        stack.save()
        return _state(stack, network)


def read_network(project: str, stack_name: str, network_id: str) -> NetworkState | None:
    """Return a network as it is; None if it is gone."""
    stack = load(project, stack_name)
    network = next((n for n in stack.networks.values() if n.id == network_id and n.whole), None)
    return _state(stack, network) if network else None


def start_network(project: str, stack_name: str, network_id: str) -> NetworkState:
    """Bring a network back that died with its computer. Its machines have to be started anew after that."""
    require()
    with change(project, stack_name) as stack:
        network = stack.network(network_id)
        if not underlay.site_runs(stack, network):
            _raise_site(stack, network)
        return _state(stack, network)


def delete_network(project: str, stack_name: str, network_id: str) -> None:
    """Remove a network and all that is still in it; that it is gone already is no error."""
    with change(project, stack_name) as stack:
        remove_unfinished(stack)
        for name in [name for name, network in stack.networks.items() if network.id == network_id]:
            remove_network(stack, name)
        stack.save()


def create_firewall(project: str, stack_name: str, name: str, network_id: str, rules: list[Rule]) -> str:
    """Make a firewall in place of one of that name, and return its id."""
    require()
    with change(project, stack_name) as stack:
        network = stack.network(network_id)
        stack.firewalls[name] = Firewall(id=new_id("fw"), network_id=network_id, rules=rules)
        _apply(stack, network)
        return stack.firewalls[name].id


def has_firewall(project: str, stack_name: str, firewall_id: str) -> bool:
    return any(firewall.id == firewall_id for firewall in load(project, stack_name).firewalls.values())


def update_firewall(project: str, stack_name: str, firewall_id: str, rules: list[Rule]) -> None:
    """Change what comes in, for all machines behind the firewall at once; open connections stay.

    Raises:
        LabError: It is gone, or a rule is malformed.
    """
    with change(project, stack_name) as stack:
        for firewall in stack.firewalls.values():
            if firewall.id == firewall_id:
                firewall.rules = rules
                _apply(stack, stack.network(firewall.network_id))
                return
    raise LabError(f"firewall {firewall_id} is not in the lab any more: run `pulumi up --refresh`.")


def delete_firewall(project: str, stack_name: str, firewall_id: str) -> None:
    """Remove a firewall; a machine that still names it gets replies only."""
    with change(project, stack_name) as stack:
        for name, firewall in list(stack.firewalls.items()):
            if firewall.id == firewall_id:
                del stack.firewalls[name]
                left = [n for n in stack.networks.values() if n.id == firewall.network_id]
                for network in left:
                    _apply(stack, network)
        stack.save()


def remove_unfinished(stack: Stack) -> None:
    """Remove what a killed run left half-made. Whoever holds the lock knows that nobody is still at it."""
    for name in [name for name, machine in stack.machines.items() if not machine.whole]:
        remove_machine(stack, name)
    for name in [name for name, network in stack.networks.items() if not network.whole]:
        remove_network(stack, name)


def remove_network(stack: Stack, name: str) -> None:
    """Remove a network with its machines and firewalls; with the last one, the stack's internet."""
    network = stack.networks[name]
    for machine in [m for m, known in stack.machines.items() if known.network_id == network.id]:
        remove_machine(stack, machine)
    for firewall in [f for f, known in stack.firewalls.items() if known.network_id == network.id]:
        del stack.firewalls[firewall]
    underlay.remove_site(stack, network)
    if len(stack.networks) == 1:
        underlay.leave_internet(stack)
    del stack.networks[name]
    stack.save()


def remove_machine(stack: Stack, name: str) -> None:
    """Kill a machine and remove its link, its disk and its record. Its address stays leased to its name."""
    machine = stack.machines[name]
    containers.kill(stack.namespace(machine))
    underlay.remove_machine(stack, network_of(stack, machine), machine)
    directory = stack.machine_directory(machine)
    if directory.exists():
        shutil.rmtree(directory)
    del stack.machines[name]
    stack.save()
    if machine.cut_from:
        # Its faults go with it, from the others' routers too: its successor has its address.
        router.apply_everywhere(stack)


def network_of(stack: Stack, machine: Machine) -> Network | None:
    return next((n for n in stack.networks.values() if n.id == machine.network_id), None)


def _raise_site(stack: Stack, network: Network) -> None:
    underlay.join_internet(stack)
    underlay.add_site(stack, network)
    router.apply(stack, network)


def _apply(stack: Stack, network: Network) -> None:
    # The router first: it refuses rules that are malformed, and then nothing is recorded.
    if underlay.exists(stack.router(network)):
        router.apply(stack, network)
    stack.save()


def _state(stack: Stack, network: Network) -> NetworkState:
    return NetworkState(
        network.id, underlay.operator_address(stack), network.public_prefix, underlay.site_runs(stack, network)
    )
