"""The faults that people and tests put on machines. Each has a record, so that it outlives its router and a reboot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab import router, underlay
from lab.machines import named
from lab.networks import network_of
from lab.records import FULL_MTU_BYTES, Faults, Machine, Stack, change
from lab.system import LabError

# What every host must take (RFC 791), and what a link here carries.
MTU_BYTES = range(576, FULL_MTU_BYTES + 1)
BLOCKABLE = ("udp", "tcp")


def set_cut(project: str, stack_name: str, name: str, cut: bool) -> None:
    """Drop all of a machine's packets at its router, or no longer; the machine sees its link up all the time."""
    with _changing(project, stack_name, name) as (_, machine):
        machine.cut = cut


def set_cut_from(project: str, stack_name: str, name: str, other: str, cut: bool = True, one_way: bool = False) -> None:
    """Drop the packets between two machines, or no longer; all others pass.

    Two private machines of different sites know each other by their routers' addresses only: then packets between
    `name` and any private machine of the other's site are dropped.

    Args:
        name: Has the fault; the same pair the other way round is another one.
        other: Counts by its name: one that is made anew is cut as well. To end it, one that is gone will do.
        one_way: Only what `name` sends to `other`.

    Raises:
        LabError: One of them is no machine, or both are one.
    """
    with _changing(project, stack_name, name) as (stack, machine):
        if not cut:
            machine.cut_from.pop(other, None)
            return
        if named(stack, other) is machine:
            raise LabError(f"{name} cannot be cut from itself. Name another machine.")
        machine.cut_from[other] = one_way


def set_loss(project: str, stack_name: str, name: str, percent: float, direction: str = "both") -> None:
    """Lose a share of a machine's packets at random.

    Args:
        percent: 0.01 to 100, or 0 to end it.
        direction: "to" the machine, "from" it or "both".

    Raises:
        LabError: `percent` or `direction` is neither.
    """
    if not (percent == 0 or 0.01 <= percent <= 100) or direction not in ("to", "from", "both"):
        raise LabError(f"loss of {percent} % {direction}: give 0.01 to 100 per cent, or 0, and one of to, from, both.")
    with _changing(project, stack_name, name) as (_, machine):
        if direction in ("to", "both"):
            machine.loss_percent_to = percent
        if direction in ("from", "both"):
            machine.loss_percent_from = percent


def set_blocked(project: str, stack_name: str, name: str, protocol: str, blocked: bool = True) -> None:
    """Drop all of a machine's packets of one protocol, those of open connections too, or no longer.

    Raises:
        LabError: `protocol` is neither "udp" nor "tcp".
    """
    if protocol not in BLOCKABLE:
        raise LabError(f"protocol {protocol!r}: give one of {', '.join(BLOCKABLE)}.")
    with _changing(project, stack_name, name) as (_, machine):
        others = {*machine.blocked} - {protocol}
        machine.blocked = sorted({*others, protocol} if blocked else others)


def set_mtu(project: str, stack_name: str, name: str, mtu_bytes: int, silent: bool = False) -> None:
    """Narrow a machine's access link, as PPPoE does.

    A larger packet to the machine is fragmented by the router or, with DF, refused by ICMP. Whoever got that ICMP
    remembers it for ten minutes, beyond the fault's end: `ip route flush cache` there.

    Args:
        mtu_bytes: 576 to 9001; 9001 ends it.
        silent: The router sends no ICMP: who waits for it waits for ever.

    Raises:
        LabError: `mtu_bytes` is out of range.
    """
    if mtu_bytes not in MTU_BYTES:
        raise LabError(f"MTU of {mtu_bytes} bytes: give {MTU_BYTES[0]} to {MTU_BYTES[-1]}; {MTU_BYTES[-1]} ends it.")
    with _changing(project, stack_name, name) as (stack, machine):
        machine.mtu_bytes, machine.mtu_silent = mtu_bytes, silent and mtu_bytes < FULL_MTU_BYTES
        _narrow(stack, machine)


def rebind(project: str, stack_name: str, name: str) -> None:
    """Lose a private machine's NAT mappings, as a home router that starts anew; it is over at once.

    New flows, and what is left of old ones, leave the site under ports of the other half of all ports. What comes to
    the old ports is dropped.

    Raises:
        LabError: The machine is public, so nothing translates its address.
    """
    with _changing(project, stack_name, name) as (stack, machine):
        if machine.public:
            raise LabError(f"{name} is public and has no NAT mappings. Name a private machine.")
        machine.ports_swapped = not machine.ports_swapped
    # The rules first, which stand by now: a packet between the two would get its old mapping again.
    network = network_of(stack, machine)
    if network is not None and underlay.exists(stack.router(network)):
        router.forget(stack, network, machine)


def restore(project: str, stack_name: str, name: str) -> None:
    """End all of a machine's faults; those that another machine has towards it stay."""
    with _changing(project, stack_name, name) as (stack, machine):
        for fault, none in Faults():
            setattr(machine, fault, none)
        _narrow(stack, machine)


def describe(machine: Machine) -> list[str]:
    """Return a machine's faults in words."""
    loss = {"to": machine.loss_percent_to, "from": machine.loss_percent_from}
    mtu = f"MTU {machine.mtu_bytes}" + (", silent" if machine.mtu_silent else "")
    return [
        *(["cut"] if machine.cut else []),
        *(
            f"cut from {other}" + (", one way" if one_way else "")
            for other, one_way in sorted(machine.cut_from.items())
        ),
        *(f"{protocol} blocked" for protocol in machine.blocked),
        *([mtu] if machine.mtu_bytes < FULL_MTU_BYTES else []),
        *(f"{percent:g} % lost {direction} it" for direction, percent in loss.items() if percent),
    ]


@contextmanager
def _changing(project: str, stack_name: str, name: str) -> Iterator[tuple[Stack, Machine]]:
    """Give out a machine's record; then bring the routers in line with it and save it."""
    with change(project, stack_name) as stack:
        yield stack, named(stack, name)
        # All routers: a cut between two sites may stand at either's.
        router.apply_everywhere(stack)
        stack.save()


def _narrow(stack: Stack, machine: Machine) -> None:
    network = network_of(stack, machine)
    if network is not None:
        underlay.set_mtu(stack, network, machine)
