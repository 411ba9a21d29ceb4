"""From views to the files that machines are given: pure functions over components/templates."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network

from components.model.files import CONSTANTS, HOOKS, UNITS, FileSpec, copied, json_file, rendered, text
from components.model.members import LOAD_FILTER, network_files, sizes, told
from components.model.naming import RESTART_NAMES, answers, questions
from components.model.policy import OPEN, Policy, Service
from components.model.topology import Door, HostView, HubView, LinkView, Overlay

OFFLOAD_UNIT = "vcubev-offload.service"
HUB_PACKAGES = ("bird2", "chrony", "dnsmasq-base", "nftables", "openvpn", "python3", "sudo")
HOST_PACKAGES = ("chrony", "dnsmasq-base", "fping", "nftables", "openvpn", "python3", "sudo")
# Started in this order; then the doors' units, then the last.
_HUB_UNITS = (
    "vcubev-net.service",
    "nftables.service",
    "bird.service",
    "vcubev-routes.service",
    "vcubev-hub.service",
    "vcubev-names.service",
    "vcubev-dns.service",
    OFFLOAD_UNIT,
)
LAST_HUB_UNIT = "vcubev-leave.service"
HOST_UNITS = (
    "vcubev-net.service",
    "nftables.service",
    "vcubev-turn@1.socket",
    "vcubev-turn@2.socket",
    "vcubev-paths.service",
    "vcubev-lookup.service",
    "vcubev-resolver.service",
    "vcubev-lookup.path",
)

HUB_AGENT = (
    "claiming.py",
    "counters.py",
    "ends.py",
    "guests.py",
    "hub.py",
    "metrics.py",
    "sessions.py",
    "sizes.py",
    "widths.py",
)
HOST_AGENT = (
    "choice.py",
    "counters.py",
    "floods.py",
    "metrics.py",
    "paths.py",
    "sizes.py",
    "surveying.py",
    "telling.py",
    "tunnels.py",
    "turns.py",
    "validity.py",
)

PKI = "/etc/vcubev/pki"
LOW_PORTS = range(1, 1024)
EVERY_LINK = "restart vcubev-link@*.service"
EVERY_DOOR = "restart vcubev-hosts@*.service"
BOTH_PATHS = "reload vcubev-paths.service"


def hub_files(
    hub: HubView,
    overlay: Overlay,
    endpoint: str,
    policy: Policy = OPEN,
    gateway_for: IPv4Network | None = None,
    inner: str = "",
) -> dict[str, FileSpec]:
    """Return a hub's files, path -> file. They name no host and no link, so both come and go without them.

    Args:
        endpoint: The hub's address on the underlay.
        gateway_for: The underlay whose private machines reach the internet through this hub.
        inner: The hub's address in its site's own network; "" if it has none.
    """
    values = {"hub": hub, "member": hub, "overlay": overlay, "policy": policy, "gateway_for": gateway_for}
    hosts = (EVERY_DOOR,)
    agent, routes = ("restart vcubev-hub.service",), ("restart vcubev-routes.service",)
    config = {
        "ipv4": str(hub.address.ipv4),
        "overlay_ipv4": str(overlay.ipv4),
        "overlay_ipv6": str(overlay.ipv6),
        "claims_port": CONSTANTS["CLAIMS_PORT"],
        "hosts_table": CONSTANTS["HOSTS_TABLE"],
        **sizes(),
    }
    return {
        **network_files("hub", values),
        **told(hub, endpoint, inner),
        **{
            # Which doors there are, all else on the machine sees by these files.
            f"/etc/vcubev/hosts-{door.name}.conf": rendered(
                "openvpn/hosts.conf.j2", {**values, "door": door}, (f"restart {_unit(door)}",)
            )
            for door in hub.doors
        },
        **_low_ports(hub),
        **answers(hub, values),
        "/etc/vcubev/hub.json": json_file(config, (*agent, *routes)),
        **{
            f"{HOOKS}/{part}": copied(f"agents/{part}", "0644", (*agent, *routes))
            for part in ("bird.py", "kernel.py", "notify.py")
        },
        f"{HOOKS}/plan.py": copied("agents/plan.py", "0644", (*agent, *routes, RESTART_NAMES)),
        f"{HOOKS}/doors.py": copied("agents/doors.py", "0644", (*agent, *routes, RESTART_NAMES)),
        **{f"{HOOKS}/{part}": copied(f"agents/{part}", "0644", agent) for part in HUB_AGENT},
        f"{HOOKS}/routes.py": copied("agents/routes.py", "0644", routes),
        f"{UNITS}/vcubev-routes.service": rendered("systemd/vcubev-routes.service.j2", {}, routes),
        f"{UNITS}/vcubev-hub.service": rendered("systemd/vcubev-hub.service.j2", {}, agent),
        f"{HOOKS}/probe-offload": copied("hooks/probe-offload"),
        f"{UNITS}/{OFFLOAD_UNIT}": rendered("systemd/vcubev-offload.service.j2", {}),
        f"{UNITS}/vcubev-leave.service": rendered("systemd/vcubev-leave.service.j2", {}),
        "/etc/bird/bird.conf": rendered("bird/bird.conf.j2", values, ("reload bird.service",)),
        # BIRD refuses to include from a directory that is not there.
        "/etc/bird/links/none.conf": FileSpec("# Each link to another hub has a file beside this one.\n"),
        f"{UNITS}/bird.service.d/vcubev.conf": rendered("systemd/bird-override.conf.j2", {}, ("restart bird.service",)),
        f"{UNITS}/vcubev-hosts@.service": rendered("systemd/vcubev-hosts@.service.j2", {}, hosts),
        f"{UNITS}/vcubev-link@.service": rendered("systemd/vcubev-link@.service.j2", {}, (EVERY_LINK,)),
        # The daemons read hooks anew at each call.
        f"{HOOKS}/member.sh": copied("hooks/member.sh", "0644"),
        **{
            f"{HOOKS}/{hook}": copied(f"hooks/{hook}")
            for hook in (
                "client-connect",
                "client-disconnect",
                "drain",
                "flush-hosts",
                "hosts-up",
                "link-down",
                "link-up",
                "link-verified",
            )
        },
    }


def _low_ports(hub: HubView) -> dict[str, FileSpec]:
    """Return what gives OpenVPN the right to a port below 1024, for each door that has one; it has no other."""
    return {
        f"{UNITS}/{_unit(door)}.d/low-port.conf": rendered("systemd/low-port.conf.j2", {}, (f"restart {_unit(door)}",))
        for door in hub.doors
        if door.port in LOW_PORTS
    }


def _unit(door: Door) -> str:
    return f"vcubev-hosts@{door.name}.service"


def hub_units(hub: HubView) -> tuple[str, ...]:
    """Return what runs on a hub, in the order in which it is started."""
    return (*_HUB_UNITS, *map(_unit, hub.doors), LAST_HUB_UNIT)


def hub_pki_files(
    ca_pem: str, certificate_pem: str, key_pem: str, tls_crypt_v2_server_key: str, link_key: str
) -> dict[str, FileSpec]:
    """Return a hub's certificates and keys."""
    hosts = EVERY_DOOR
    return {
        f"{PKI}/ca.pem": FileSpec(ca_pem, on_change=(hosts, EVERY_LINK)),
        f"{PKI}/certificate.pem": FileSpec(certificate_pem, on_change=(hosts, EVERY_LINK)),
        f"{PKI}/key.pem": FileSpec(key_pem, "0600", (hosts, EVERY_LINK)),
        f"{PKI}/tls-crypt-v2.key": FileSpec(tls_crypt_v2_server_key, "0600", (hosts,)),
        f"{PKI}/link.key": FileSpec(link_key, "0600", (EVERY_LINK,)),
    }


def service_files(kind: str, service: Service) -> dict[str, FileSpec]:
    """Return one service's part of a machine's packet filter.

    Args:
        kind: "host", which serves it, or "hub", the second wall.
    """
    rules = text(f"nftables/{kind}-service.nft.j2", {"service": service})
    return {f"/etc/vcubev/services/{service.name}.nft": FileSpec(rules, on_change=(LOAD_FILTER,))}


def link_files(
    own: HubView, peer: HubView, link: LinkView, peer_endpoint: str, own_inner: str = "", peer_inner: str = ""
) -> dict[str, FileSpec]:
    """Return one end of a link: the tunnel and the routing session over it.

    Args:
        peer_endpoint: The peer's address on the underlay.
        own_inner: This hub's in its site's own network; "" if it has none.
        peer_inner: The peer's in its site's.
    """
    within = own.site == peer.site and own_inner and peer_inner
    values = {"own": own, "peer": peer, "listens": own == link.listener}
    values["peer_endpoint"] = peer_inner if within else peer_endpoint
    values["role"] = link.role(own)
    values["rank"] = link.rank
    restart = (f"restart vcubev-link@{peer.id}.service",)
    return {
        f"/etc/vcubev/links/{peer.id}.conf": rendered("openvpn/link.conf.j2", values, restart),
        f"/etc/bird/links/{peer.id}.conf": rendered("bird/link.conf.j2", values, ("reload bird.service",)),
        **told(peer, peer_endpoint, peer_inner),
    }


def host_files(
    host: HostView,
    overlay: Overlay,
    own_hubs: Sequence[tuple[HubView, str, str]],
    policy: Policy = OPEN,
    direct: bool = False,
) -> dict[str, FileSpec]:
    """Return a host's files, path -> file.

    Args:
        own_hubs: The hubs of its site, each with its address on the underlay and, if it has one, in its site's own
            network. From them it hears of all others, so that another site changes nothing here.
        direct: Whether it has tunnels to other hosts as well.
    """
    values = {"host": host, "member": host, "overlay": overlay, "policy": policy, "direct": direct}
    agent = ("restart vcubev-paths.service",)
    config = {
        "host": host.name,
        "site": host.hub_site,
        "network": host.site,
        "ipv4": str(host.address.ipv4),
        "ipv6": str(host.address.ipv6),
        "overlay_ipv4": str(overlay.ipv4),
        "overlay_ipv6": str(overlay.ipv6),
        "claims_port": CONSTANTS["CLAIMS_PORT"],
        **sizes(),
    }
    files = network_files("host", values)
    for hub, endpoint, inner in own_hubs:
        files |= told(hub, endpoint, inner)
    return {
        **files,
        **questions(values),
        "/etc/vcubev/paths.json": json_file(config, agent),
        "/etc/vcubev/path.conf": rendered("openvpn/path.conf.j2", values, (BOTH_PATHS,)),
        **{f"{HOOKS}/{part}": copied(f"agents/{part}", "0644", agent) for part in HOST_AGENT},
        f"{UNITS}/vcubev-path@.service": rendered("systemd/vcubev-path@.service.j2", {}, (BOTH_PATHS,)),
        f"{UNITS}/vcubev-turn@.service": rendered("systemd/vcubev-turn@.service.j2", {}),
        f"{UNITS}/vcubev-turn@.socket": rendered(
            "systemd/vcubev-turn@.socket.j2", {}, ("restart vcubev-turn@1.socket", "restart vcubev-turn@2.socket")
        ),
        f"{UNITS}/vcubev-paths.service": rendered("systemd/vcubev-paths.service.j2", {}, agent),
    }


def host_pki_files(
    ca_pem: str, certificate_pem: str, key_pem: str, tls_crypt_v2_client_key: str
) -> dict[str, FileSpec]:
    """Return a host's certificate and keys."""
    client = (BOTH_PATHS,)
    return {
        f"{PKI}/ca.pem": FileSpec(ca_pem, on_change=client),
        f"{PKI}/certificate.pem": FileSpec(certificate_pem, on_change=client),
        f"{PKI}/key.pem": FileSpec(key_pem, "0600", client),
        f"{PKI}/tls-crypt-v2.key": FileSpec(tls_crypt_v2_client_key, "0600", client),
    }
