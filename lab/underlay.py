"""The lab's internet: network namespaces joined by veth pairs.

    operator's computer -- internet of the stack -- router of a site -- machine
                                                 \\- router of a site -- machine

The internet has no way out. In the computer's own namespace there is one veth end and a route per site, nothing else.
A machine has a link of its own and addresses of /32, so that all it sends and gets passes its router: one of its site's
network, by which its neighbours reach it in packets of 9001 bytes, and, if it is public, one of the internet. What is
for the latter has 1500, a neighbour's packets too.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

from lab.addresses import GATEWAY, INTERNET_GATEWAY, operator_pair, router_address
from lab.records import INTERNET_MTU_BYTES, Machine, Network, Stack
from lab.system import LabError, run, succeeds

NAMESPACES = Path("/run/netns")
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}


def exists(namespace: str) -> bool:
    return (NAMESPACES / namespace).exists()


def has_link(namespace: str, link: str) -> bool:
    return exists(namespace) and succeeds("ip", "-n", namespace, "link", "show", link)


def add_namespace(namespace: str, forwards: bool) -> None:
    run("ip", "netns", "add", namespace)
    settings = SYSCTLS if forwards else {}
    script = "".join(f"echo {value} > /proc/sys/{key}\n" for key, value in settings.items())
    inside(namespace, "sh", "-eu", stdin=script + "ip link set lo up\n")


def inside(namespace: str, *command: str, stdin: str | None = None) -> str:
    """Run a command of this computer in a network namespace."""
    return run("nsenter", f"--net={NAMESPACES / namespace}", *command, stdin=stdin)


def remove_namespace(namespace: str) -> None:
    if exists(namespace):
        run("ip", "netns", "delete", namespace)


def remove_link(link: str) -> None:
    """Remove a veth pair by its end in the computer's own namespace, and with it the routes over it."""
    if succeeds("ip", "link", "show", link):
        run("ip", "link", "delete", link)


def join_internet(stack: Stack) -> None:
    """Make the stack's internet and the operator's link to it, where they are missing."""
    internet = stack.internet
    if exists(internet) and has_link(internet, "operator"):
        return
    leave_internet(stack)
    ours, theirs = operator_pair(stack.number)
    add_namespace(internet, forwards=True)
    run("ip", "link", "add", stack.link, "type", "veth", "peer", "name", "operator", "netns", internet)
    _batch(internet, [f"address add {theirs}/31 dev operator", "link set operator up"])
    _batch(None, [f"address add {ours}/31 dev {stack.link}", f"link set {stack.link} up"])


def leave_internet(stack: Stack) -> None:
    remove_link(stack.link)
    remove_namespace(stack.internet)


def add_site(stack: Stack, network: Network) -> None:
    """Make a site's router and join it to the internet. Its nftables come from lab.router."""
    router, uplink, own = stack.router(network), f"s{network.number}", router_address(network)
    remove_site(stack, network)
    add_namespace(router, forwards=True)
    run("ip", "-n", stack.internet, "link", "add", uplink, "type", "veth", "peer", "name", "uplink", "netns", router)
    _batch(
        stack.internet,
        [
            f"address add {INTERNET_GATEWAY}/32 dev {uplink}",
            f"link set {uplink} up",
            f"route add {network.public_prefix} via {own} dev {uplink} onlink",
        ],
    )
    _batch(
        router,
        [
            f"address add {own}/32 dev uplink",
            "link set uplink up",
            f"route add default via {INTERNET_GATEWAY} dev uplink onlink src {own}",
            # What no machine has is nobody's: without this it would bounce between router and internet.
            f"route add unreachable {network.public_prefix}",
            f"route add unreachable {network.private_prefix}",
        ],
    )
    _, internet_end = operator_pair(stack.number)
    run("ip", "route", "replace", str(network.public_prefix), "via", str(internet_end), "dev", stack.link)


def remove_site(stack: Stack, network: Network) -> None:
    uplink = f"s{network.number}"
    # By the link first: a namespace goes some time after its name, and its links with it.
    if has_link(stack.internet, uplink):
        run("ip", "-n", stack.internet, "link", "delete", uplink)
    remove_namespace(stack.router(network))
    if succeeds("ip", "link", "show", stack.link):
        succeeds("ip", "route", "delete", str(network.public_prefix), "dev", stack.link)


def site_runs(stack: Stack, network: Network) -> bool:
    """Whether packets can pass from the operator to the router; the machines behind it are not looked at."""
    if not (has_link(stack.internet, f"s{network.number}") and has_link(stack.router(network), "uplink")):
        return False
    routes = json.loads(run("ip", "-json", "route", "show", str(network.public_prefix)))
    return any(route.get("dev") == stack.link for route in routes)


def add_machine(stack: Stack, network: Network, machine: Machine) -> None:
    """Give a machine a namespace with its addresses in it, a new one at each boot: a dead kernel keeps no routes.

    Raises:
        LabError: The site does not run.
    """
    router, namespace, link = stack.router(network), stack.namespace(machine), f"m{machine.number}"
    if not exists(router):
        raise LabError(f"the network of machine {namespace} does not run: run `pulumi up --refresh`.")
    remove_machine(stack, network, machine)
    add_namespace(namespace, forwards=False)
    run("ip", "-n", router, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _batch(router, [f"address add {GATEWAY}/32 dev {link}", f"link set {link} up"])
    set_mtu(stack, network, machine)
    _batch(
        namespace,
        [
            *(f"address add {address}/32 dev eth0" for address in machine.addresses),
            "link set eth0 up",
            f"route add default via {GATEWAY} dev eth0 onlink src {machine.address}",
            *_way_within(network, machine),
        ],
    )


def _way_within(network: Network, machine: Machine) -> list[str]:
    """Let a machine with two addresses speak to its site under that of the site."""
    if machine.private_address is None:
        return []
    return [f"route add {network.private_prefix} via {GATEWAY} dev eth0 onlink src {machine.private_address}"]


def set_mtu(stack: Stack, network: Network, machine: Machine) -> None:
    """Let both ends of a machine's link take what its record says, and the way to it; nothing if it has no link."""
    router, link = stack.router(network), f"m{machine.number}"
    for namespace, end in ((router, link), (stack.namespace(machine), "eth0")):
        if has_link(namespace, end):
            run("ip", "-n", namespace, "link", "set", end, "mtu", str(machine.mtu_bytes))
    if has_link(router, link):
        _batch(router, [f"route replace {to}/32 dev {link}{limit}" for to, limit in _limits(machine).items()])


def _limits(machine: Machine) -> dict[IPv4Address, str]:
    """Return each address of a machine with what its route says of packets' size."""
    # Clouds send a packet for a public address out to the internet's door and back, from within the site too.
    public = f" mtu {min(machine.mtu_bytes, INTERNET_MTU_BYTES)}" if machine.public else ""
    return {machine.address: public} | ({machine.private_address: ""} if machine.private_address else {})


def remove_machine(stack: Stack, network: Network | None, machine: Machine) -> None:
    link = f"m{machine.number}"
    if network is not None and has_link(stack.router(network), link):
        run("ip", "-n", stack.router(network), "link", "delete", link)
    remove_namespace(stack.namespace(machine))


def operator_address(stack: Stack) -> IPv4Address:
    """Return the address under which the lab's machines see the operator."""
    return operator_pair(stack.number)[0]


def _batch(namespace: str | None, commands: list[str]) -> None:
    where = ("-n", namespace) if namespace else ()
    run("ip", *where, "-batch", "-", stdin="\n".join(commands) + "\n")
