"""Makes the instances of an emulated cloud lab machines, and keeps them what the cloud says.

All emulated clouds of a test share the record, and so the internet, of one lab stack: the one that the program's own
lab sites use. A machine has the addresses that its cloud shows.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from lab import machines, networks, underlay
from lab.addresses import GATEWAY, PUBLIC_POOL, lease, routed_here, router_address
from lab.records import Machine, Network, Rule, Stack, change, load
from lab.system import run, succeeds

# Beyond what the lab gives to its own sites, which it counts from the start of the pool.
POOL = list(PUBLIC_POOL.subnets(new_prefix=17))[1]
POOL_PREFIX_LEN = 26
IMAGE = "debian-12"
# As many boot at once as this computer has cores.
BOOTS_AT_ONCE = 2
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 30
EVERYTHING = [
    Rule(protocol="icmp", sources=["0.0.0.0/0"]),
    *(Rule(protocol=protocol, ports=["1-65535"], sources=["0.0.0.0/0"]) for protocol in ("tcp", "udp")),
]


class PublicAddresses:
    """A prefix of the lab's internet that this computer does not route yet, given out one address at a time."""

    def __init__(self, part: int) -> None:
        taken = routed_here()
        pieces = list(POOL.subnets(prefixlen_diff=2))[part].subnets(new_prefix=POOL_PREFIX_LEN)
        # A cloud takes its route only with its first machine: until then its lock tells others.
        self.prefix = next(p for p in pieces if not any(p.overlaps(other) for other in taken) and self._locked(p))
        self._given: set[IPv4Address] = set()
        self._giving = threading.Lock()

    def _locked(self, prefix: IPv4Network) -> bool:
        """Take a prefix for as long as this process lives: a name of the kernel's, which leaves no file."""
        self._lock = socket.socket(socket.AF_UNIX)
        try:
            self._lock.bind(f"\0vcubev-emulated-{prefix}")
        except OSError:
            return False
        return True

    def take(self) -> str:
        """Return an address that was not given before, as long as there is one."""
        with self._giving:
            address = next(a for a in self.prefix.hosts() if a not in self._given)
            self._given.add(address)
            return str(address)

    def give_back(self, address: str) -> None:
        with self._giving:
            self._given.discard(IPv4Address(address))


@dataclass(frozen=True)
class Wanted:
    """One instance as its cloud says that it should be."""

    key: str  # the cloud's id
    site: str  # the cloud's id of its network
    private_prefix: str
    private_address: str  # "" if the lab may choose one
    public_address: str  # "" if it has none
    user_data: str
    rules: tuple[Rule, ...]
    running: bool = True

    @property
    def leases(self) -> dict[str, IPv4Address]:
        """The cloud's choice of addresses, by their kinds."""
        given = {"public": self.public_address, "private": self.private_address}
        return {kind: IPv4Address(address) for kind, address in given.items() if address}

    def is_at(self, machine: Machine) -> bool:
        """Whether a lab machine has these addresses, and no public one beside them."""
        return machine.public == bool(self.public_address) and {*self.leases.values()} <= {*machine.addresses}


class Bridge:
    """Follows one cloud: `look` returns all of its instances that are not terminated."""

    def __init__(
        self, cloud: str, stack: tuple[str, str], addresses: PublicAddresses, look: Callable[[], list[Wanted]]
    ) -> None:
        self._cloud, self._stack, self._addresses, self._look = cloud, stack, addresses, look
        self.held_back: dict[str, float] = {}  # key -> time before which it does not boot: faults that tests order
        self.looking = threading.Lock()  # held by who makes a machine that must not be seen before it is held back
        self.failures: list[str] = []
        self._busy: set[str] = set()
        self._routed: dict[str, str] = {}  # key -> public address that the internet routes to it
        self._changed, self._ended = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(BOOTS_AT_ONCE)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        _reach_neighbours()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._changed.set()

    def stop(self) -> None:
        """End, and take all machines of this cloud away."""
        self._ended.set()
        self._changed.set()
        self._thread.join()
        self._pool.shutdown()
        self._remove_others([])

    def settle(self) -> None:
        """Wait until nothing is left of what the cloud has no more; a cloud says "terminated" no earlier."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            wanted = self._look()
            names = {self._name(key) for one in wanted for key in (one.key, one.site)}
            stack = load(*self._stack)
            if not [name for name in (*stack.machines, *stack.networks) if self._is_mine(name) and name not in names]:
                return
            self.wake()
            time.sleep(0.1)

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self._pass()
            except Exception:
                self._fail()
            self._changed.wait(LOOK_SECONDS)
            self._changed.clear()

    def _fail(self) -> None:
        self.failures.append(traceback.format_exc())
        print(self.failures[-1], file=sys.stderr, flush=True)

    def _pass(self) -> None:
        with self.looking:
            wanted = self._look()
        self._remove_others(wanted)
        for one in wanted:
            if one.key not in self._busy and time.monotonic() >= self.held_back.get(one.key, 0):
                self._busy.add(one.key)
                self._pool.submit(self._bring, one)

    def _bring(self, one: Wanted) -> None:
        try:
            self._bring_in_line(one)
        except Exception:
            self._fail()
        finally:
            self._busy.discard(one.key)

    def _bring_in_line(self, one: Wanted) -> None:
        name, stack = self._name(one.key), load(*self._stack)
        machine, network = stack.machines.get(name), stack.networks.get(self._name(one.site))
        if machine is None:
            if one.running:
                self._make(one, name)
            return
        if network is None:
            return
        if not one.is_at(machine):
            self._move(one, name)
        firewall = next((f for f in stack.firewalls.values() if f.id == machine.firewall_id), None)
        if firewall is not None and firewall.rules != list(one.rules):
            networks.update_firewall(*self._stack, firewall.id, list(one.rules))
        stack = load(*self._stack)
        if (machine := stack.machines.get(name)) and machines.is_running(stack, machine) != one.running:
            act = machines.start if one.running else machines.power_off
            act(*self._stack, name)

    def _make(self, one: Wanted, name: str) -> None:
        network_id = self._network(one)
        self._lease(one, name)
        firewall = networks.create_firewall(*self._stack, name, network_id, list(one.rules))
        public = bool(one.public_address)
        machines.create_machine(*self._stack, name, network_id, firewall, IMAGE, one.user_data, public)

    def _network(self, one: Wanted) -> str:
        name = self._name(one.site)
        with _making:
            known = load(*self._stack).networks.get(name)
            if known is None or not known.whole:
                return networks.create_network(*self._stack, name, one.private_prefix).id
            return known.id

    def _lease(self, one: Wanted, name: str) -> None:
        """Write the cloud's choice where the lab would make its own, and let the internet find it."""
        with change(*self._stack) as stack:
            network = stack.networks[self._name(one.site)]
            network.leases |= {f"{kind} {name}": address for kind, address in one.leases.items()}
            stack.save()
            self._route(one, stack, network)

    def _route(self, one: Wanted, stack: Stack, network: Network) -> None:
        if not one.public_address:
            return
        own, uplink = str(router_address(network)), f"s{network.number}"
        target = f"{one.public_address}/32"
        run("ip", "-n", stack.internet, "route", "replace", target, "via", own, "dev", uplink, "onlink")
        via = run("ip", "-n", stack.internet, "-br", "-4", "address", "show", "operator").split()[2].split("/")[0]
        run("ip", "route", "replace", str(self._addresses.prefix), "via", via, "dev", stack.link)
        self._routed[one.key] = one.public_address

    def _move(self, one: Wanted, name: str) -> None:
        """Give a machine other addresses. A cloud does so while it runs; a lab machine restarts for it."""
        machines.power_off(*self._stack, name)
        self._lease(one, name)
        with change(*self._stack) as stack:
            machine = stack.machines[name]
            network = stack.network(machine.network_id)
            underlay.remove_machine(stack, network, machine)
            machine.public = bool(one.public_address)
            machine.address, machine.private_address = lease(network, name, machine.public, stack.machines)
            stack.save()
        machines.start(*self._stack, name)

    def _remove_others(self, wanted: list[Wanted]) -> None:
        kept = {self._name(one.key) for one in wanted}
        sites = {self._name(one.site) for one in wanted}
        stack = load(*self._stack)
        for name, machine in list(stack.machines.items()):
            if self._is_mine(name) and name not in kept and name.removeprefix(f"{self._cloud}-") not in self._busy:
                machines.delete_machine(*self._stack, machine.id)
                networks.delete_firewall(*self._stack, machine.firewall_id)
                if address := self._routed.pop(name.removeprefix(f"{self._cloud}-"), None):
                    succeeds("ip", "-n", stack.internet, "route", "delete", f"{address}/32")
        left = load(*self._stack)
        in_use = {machine.network_id for machine in left.machines.values()}
        for name, network in list(left.networks.items()):
            if self._is_mine(name) and name not in sites and network.id not in in_use and not self._busy:
                networks.delete_network(*self._stack, network.id)

    def machines(self) -> Iterator[tuple[str, Machine]]:
        for name, machine in load(*self._stack).machines.items():
            if self._is_mine(name):
                yield name, machine

    def _name(self, key: str) -> str:
        return f"{self._cloud}-{key}"

    def _is_mine(self, name: str) -> bool:
        return name.startswith(f"{self._cloud}-")


_making = threading.Lock()


def _reach_neighbours() -> None:
    """Let a private machine take any address of its network for a next hop, as one in a VPC can.

    Its router answers for all of them, and so stands in for a hub that a machine is told to go out by.
    """
    plain = underlay.add_machine

    def add_machine(stack: Stack, network: Network, machine: Machine) -> None:
        plain(stack, network, machine)
        if not machine.public:
            underlay.inside(
                stack.router(network), "sh", "-c", f"echo 1 > /proc/sys/net/ipv4/conf/m{machine.number}/proxy_arp"
            )
            # A router answers only for addresses to which it has a way.
            run("ip", "-n", stack.router(network), "route", "replace", str(network.private_prefix), "dev", "uplink")
            inside = ("ip", "-n", stack.namespace(machine), "route")
            run(*inside, "add", str(network.private_prefix), "dev", "eth0", "src", str(machine.address))
            run(*inside, "replace", f"{GATEWAY}/32", "dev", "eth0")

    if not hasattr(plain, "reaches_neighbours"):
        add_machine.reaches_neighbours = True  # type: ignore[attr-defined]
        underlay.add_machine = add_machine
