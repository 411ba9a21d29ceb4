"""What the lab remembers of each stack, and the one lock under which it changes anything.

A record is written before what it describes is made and removed after that is gone, so whatever a crash leaves
behind has a record. It holds no user_data: that lies on the machine's own disk only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pydantic import BaseModel, Field

from lab.system import LabError

# One for all roots: two labs on one computer share its namespaces and its routing table.
LOCK = Path("/run/vcubev-lab.lock")
# Its holders need well under a second each, but for killing a machine that resists.
LOCK_SECONDS = 60
# As within a VPC of AWS, for every machine's link that nobody narrowed. All else has Ethernet's.
FULL_MTU_BYTES, INTERNET_MTU_BYTES = 9001, 1500


class Rule(BaseModel):
    """What may come in; `ports` as "22" or "20000-20255", `sources` as CIDRs."""

    protocol: str
    ports: list[str] = []
    sources: list[str] = []


class Firewall(BaseModel):
    id: str
    network_id: str
    rules: list[Rule]


class Network(BaseModel):
    """One site. `leases` outlive their machines, so that one made anew gets its address back."""

    id: str
    number: int
    private_prefix: IPv4Network
    public_prefix: IPv4Network
    leases: dict[str, IPv4Address] = {}
    whole: bool = False  # False only while it is being made, which happens under the lock


class Faults(BaseModel):
    """What people put on a machine; see lab.faults."""

    cut: bool = False
    cut_from: dict[str, bool] = {}  # other machine's name -> only what this one sends
    blocked: list[str] = []  # protocols
    mtu_bytes: int = FULL_MTU_BYTES
    mtu_silent: bool = False  # no ICMP about packets above `mtu_bytes`
    loss_percent_to: float = 0
    loss_percent_from: float = 0


class Machine(Faults):
    """One machine and its faults."""

    id: str
    number: int
    network_id: str
    firewall_id: str
    image: str
    image_path: Path
    public: bool
    address: IPv4Address
    private_address: IPv4Address | None = None  # a public machine's other; none if an earlier version made it
    whole: bool = False
    ports_swapped: bool = False  # another way each time its router loses its NAT mappings

    @property
    def addresses(self) -> list[IPv4Address]:
        """All that are its own, the one that it goes out under first."""
        return [self.address, *([self.private_address] if self.private_address else [])]


class Stack(BaseModel):
    """All that one stack has, keyed by the engine's resource names."""

    project: str
    name: str
    number: int = -1  # picks its pair of addresses towards the operator's computer
    networks: dict[str, Network] = Field(default_factory=dict)
    firewalls: dict[str, Firewall] = Field(default_factory=dict)
    machines: dict[str, Machine] = Field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return stacks_directory() / f"{self.project}.{self.name}"

    @property
    def tag(self) -> str:
        """Eight digits that all names of this stack carry; known without a record. Interface names end at 15."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]

    @property
    def link(self) -> str:
        return f"vlab-{self.tag}"

    @property
    def internet(self) -> str:
        return f"vlab-{self.tag}-inet"

    def router(self, network: Network) -> str:
        return f"vlab-{self.tag}-s{network.number}"

    def namespace(self, machine: Machine) -> str:
        return f"vlab-{self.tag}-m{machine.number}"

    def machine_directory(self, machine: Machine) -> Path:
        return self.directory / f"m{machine.number}"

    def network(self, network_id: str) -> Network:
        """Return the network of an id.

        Raises:
            LabError: It is gone.
        """
        for network in self.networks.values():
            if network.id == network_id:
                return network
        raise LabError(f"network {network_id} is not in the lab any more: run `pulumi up --refresh`.")

    def save(self) -> None:
        """Write the record, or remove the stack's directory when it holds nothing any more."""
        if not (self.networks or self.firewalls or self.machines):
            shutil.rmtree(self.directory, ignore_errors=True)
            tidy()
            return
        # Root's alone: machines' disks lie below, and with them their user_data.
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.directory / "stack.json.new"
        draft.write_text(self.model_dump_json(indent=1))
        draft.replace(self.directory / "stack.json")


def root() -> Path:
    """Return where the lab keeps records and disks."""
    return Path(os.environ.get("VCUBEV_LAB_ROOT", "/var/lib/vcubev-lab")).absolute()


def stacks_directory() -> Path:
    return root() / "stacks"


def tidy() -> None:
    """Remove the lab's own directories once no stack is in them."""
    with suppress(OSError):
        stacks_directory().rmdir()
        root().rmdir()


def known_stacks() -> list[Stack]:
    """Return the stacks that have a record."""
    found = (load(*directory.name.split(".", 1)) for directory in sorted(stacks_directory().glob("*.*")))
    return [stack for stack in found if stack.number >= 0]


def load(project: str, name: str) -> Stack:
    """Return a stack's record as it is now, an empty one if it has none."""
    stack = Stack(project=project, name=name)
    try:
        return Stack.model_validate_json((stack.directory / "stack.json").read_text())
    except FileNotFoundError:
        return stack


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lab's lock. It is free again when its holder dies.

    Raises:
        LabError: Somebody else held it all the time.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    # A descriptor for each call: flock then holds between threads as well as between processes.
    with LOCK.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(f"{LOCK} was held for {LOCK_SECONDS} s; `fuser {LOCK}` says by whom.") from None
                time.sleep(0.02)
        yield


@contextmanager
def change(project: str, name: str) -> Iterator[Stack]:
    """Hold the lab's lock and give out a stack's record; whoever changes it saves it."""
    with locked():
        yield load(project, name)


def new_id(kind: str) -> str:
    """Return an id never given before, so that a late delete of a replaced thing cannot hit its successor."""
    return f"{kind}-{secrets.token_hex(6)}"


def free_number(taken: Iterator[int]) -> int:
    """Return the lowest number from 1 that is not taken."""
    used = set(taken)
    return next(n for n in range(1, len(used) + 2) if n not in used)
