"""Hosts with one tunnel each, as OpenVPN has it by itself: a list of hubs, and ping-restart to leave a dead one."""

from __future__ import annotations

from collections.abc import Sequence

from tests.lab.faults.world import World

TUNNEL, CLAIMS, AGENT = "one-tunnel", "one-tunnel-claims", "vcubev-paths.service"
PKI = "/etc/vcubev/pki"
PORT, CLAIMS_PORT = 1194, 1195
# What the project's two tunnels do not need: its agent leaves long before.
TIMERS = "--ping 1 --ping-restart 4 --connect-timeout 2 --connect-retry 1"
# The hub must know that this tunnel has the traffic; the one that it goes to takes the claim, no other does.
CLAIM = """
import itertools, json, socket, sys, time
own, port, *hubs = sys.argv[1:]
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.bind((own, 0))
for number in itertools.count(1):
    for hub in hubs:
        asker.sendto(json.dumps({"claim": True, "nonce": f"1.{number}", "hash": ""}).encode(), (hub, int(port)))
    time.sleep(0.2)
"""


def begin(world: World, hosts: Sequence[str]) -> None:
    """Put one tunnel in the place of the hosts' two."""
    overlay = [hub["ipv4"] for hub in world.hubs.values()]
    for place, host in enumerate(hosts):
        hub_names = sorted(world.hubs, key=lambda name: _nearness(world, host, place, name))
        remotes = " ".join(f"--remote {world.hubs[name]['ssh']['address']} {PORT}" for name in hub_names)
        world.run(
            host,
            f"systemctl stop {AGENT} vcubev-path@1.service vcubev-path@2.service\n"
            # The agent's own routes; those of the devices themselves stay.
            ". /etc/vcubev/overlay.env\n"
            "ip -4 route del $OVERLAY_IPV4 metric 10; ip -6 route del $OVERLAY_IPV6 metric 10\n"
            f"systemd-run --quiet --unit={TUNNEL} openvpn --config /etc/vcubev/path.conf --dev path1 --proto udp4"
            f" --key {PKI}/key.pem --tls-crypt-v2 {PKI}/tls-crypt-v2.key --explicit-exit-notify 1 --fast-io"
            f" {TIMERS} {remotes}\n",
        )
        world.run(
            host,
            f"cat >/run/claims.py <<'end'\n{CLAIM}end\n"
            f"systemd-run --quiet --unit={CLAIMS} -p Restart=always python3 /run/claims.py"
            f" {world.hosts[host]['ipv4']} {CLAIMS_PORT} {' '.join(overlay)}",
        )


def end(world: World, hosts: Sequence[str]) -> None:
    """Give the hosts their two tunnels back."""
    for host in hosts:
        world.run(host, f"systemctl stop {CLAIMS} {TUNNEL}; systemctl start {AGENT}")


def settle(world: World, hosts: Sequence[str], seconds: float = 60) -> None:
    """Wait until every host is where all hubs send to, all of its pings are answered and all hubs are whole."""

    def lacking() -> list[str]:
        states = {hub: world.hub_state(hub) for hub in world.hubs}
        hubs = [hub for hub, s in states.items() if not s or not s["fit"] or s["sessions"] < s["peers"]]
        return [*hubs, *world.disagreements()]

    world.until(lacking, seconds, "not settled")
    for host in hosts:
        others = [other for other in hosts if other != host]
        unreached = lambda: [other for other in others if not world.reaches(host, other)]  # noqa: B023, E731
        world.until(unreached, seconds, f"{host} does not reach")


def _nearness(world: World, host: str, place: int, hub: str) -> tuple[bool, int]:
    """Its own site's hubs first; hosts take turns in which of them."""
    return world.hubs[hub]["site"] != world.hosts[host]["site"], (int(world.hubs[hub]["id"]) + place) % len(world.hubs)
