"""A site whose machines share one wire, as they do in a data centre of old: what the lab, like a cloud, spares them."""

from __future__ import annotations

from lab import router, underlay
from lab.addresses import GATEWAY
from lab.records import load
from lab.system import run
from tests.lab.attacks.attacker import record
from tests.lab.faults.world import PROJECT, World

BRIDGE = "shared"
# The router's: an entry that nobody confirms is asked for anew after so long, not after half a minute.
REACHABLE_MILLISECONDS, FIRST_PROBE_SECONDS = 1000, 1


class SharedSegment:
    """Joins machines of one site and their router by a bridge, with no firewall between them; undoes it at the end."""

    def __init__(self, world: World, names: tuple[str, ...]) -> None:
        self._machines = [record(world, name) for name in names]
        self._stack = load(PROJECT, world.tree.stack)
        self._network = self._stack.network(self._machines[0].network_id)
        self.router = self._stack.router(self._network)

    def _ip(self, *commands: str) -> None:
        run("ip", "-n", self.router, "-batch", "-", stdin="\n".join(commands) + "\n")

    def __enter__(self) -> SharedSegment:
        self._ip(f"link add {BRIDGE} type bridge", f"address add {GATEWAY}/32 dev {BRIDGE}", f"link set {BRIDGE} up")
        timers = {
            f"net/ipv4/neigh/{BRIDGE}/base_reachable_time_ms": REACHABLE_MILLISECONDS,
            f"net/ipv4/neigh/{BRIDGE}/delay_first_probe_time": FIRST_PROBE_SECONDS,
        }
        settings = "".join(f"echo {value} >/proc/sys/{key}\n" for key, value in timers.items())
        underlay.inside(self.router, "sh", "-eu", stdin=settings)
        for machine in self._machines:
            link = f"m{machine.number}"
            self._ip(
                f"link set {link} master {BRIDGE}",
                f"address del {GATEWAY}/32 dev {link}",
                *(f"route replace {address}/32 dev {BRIDGE}" for address in machine.addresses),
            )
        rules = f'insert rule inet lab forward iifname "{BRIDGE}" accept\n'
        rules += f'insert rule inet lab forward oifname "{BRIDGE}" accept\n'
        underlay.inside(self.router, "nft", "-f", "-", stdin=rules)
        return self

    def __exit__(self, *reason: object) -> None:
        self._ip(f"link del {BRIDGE}")
        for machine in self._machines:
            link = f"m{machine.number}"
            self._ip(f"address add {GATEWAY}/32 dev {link}")
            underlay.set_mtu(self._stack, self._network, machine)
        router.apply(self._stack, self._network)
