"""From views to the files that machines are given: pure functions over components/templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.model.policy import OPEN, Policy, families
from components.model.topology import FIRST_ASN, LINK_PORTS, HostView, HubView, LinkView, Overlay

TEMPLATES = Path(__file__).parents[1] / "templates"

# What every template may use. Timers: one second is the fastest OpenVPN's ping can be; 4 is the lowest restart that
# 20 % loss does not trip; a hub waits twice as long as its hosts, as OpenVPN's own keepalive does. A host's agent is
# faster than its tunnels by far: theirs are for the time when it is away.
CONSTANTS = {
    "PING_SECONDS": 1,
    "HOST_PING_RESTART_SECONDS": 4,
    "HUB_PING_RESTART_SECONDS": 8,
    "LINK_PING_RESTART_SECONDS": 4,
    "BFD_MILLISECONDS": 100,
    # Inside the smallest underlay in use: 1460 (Google Cloud) less 52 for UDP and AES-GCM on IPv4.
    "MTU_BYTES": 1400,
    "SOCKET_BUFFER_BYTES": 512 * 1024,
    "TX_QUEUE_PACKETS": 1000,
    "MAX_HOSTS": 2000,
    "HOSTS_TABLE": 100,
    "CLAIMS_PORT": 1195,  # UDP, in the overlay: where a hub takes its hosts' claims
    # Linux doubles it, and a route's change takes 1.2 kB of it: 50,000 of them. By itself it holds 170.
    "NETLINK_BUFFER_BYTES": 32 * 1024**2,
    "LINK_PORTS": LINK_PORTS,
    # RFC 8092: what a leaf has from the core, told within its site only; what a hub of the core has from a leaf.
    "FROM_CORE": f"({FIRST_ASN}, 0, 1)",
    "FROM_LEAF": f"({FIRST_ASN}, 0, 2)",
}

HUB_PACKAGES = ("bird2", "chrony", "nftables", "openvpn", "python3", "sudo")
HOST_PACKAGES = ("chrony", "fping", "nftables", "openvpn", "python3", "sudo")
TRANSPORTS = ("udp", "tcp")
# Started in this order.
HUB_UNITS = (
    "vcubev-net.service",
    "nftables.service",
    "bird.service",
    "vcubev-hub.service",
    *(f"vcubev-hosts@{transport}.service" for transport in TRANSPORTS),
    "vcubev-leave.service",
)
HOST_UNITS = ("vcubev-net.service", "nftables.service", "vcubev-paths.service")

HOOKS = "/usr/local/lib/vcubev"
PKI = "/etc/vcubev/pki"
UNITS = "/etc/systemd/system"
EVERY_LINK = "restart vcubev-link@*.service"
EVERY_TRANSPORT = "restart vcubev-hosts@*.service"
BOTH_PATHS = "reload vcubev-paths.service"


@dataclass(frozen=True)
class FileSpec:
    """One file of a machine.

    `on_change` lists what a changed content asks for: "restart UNIT", "reload UNIT" or "run COMMAND".
    """

    content: str
    mode: str = "0644"
    on_change: tuple[str, ...] = ()
    common: bool = False  # the same on every machine that has it


def hub_files(
    hub: HubView,
    overlay: Overlay,
    endpoint: str,
    policy: Policy = OPEN,
    gateway_for: IPv4Network | None = None,
) -> dict[str, FileSpec]:
    """Return a hub's files, path -> file. They name no host and no link, so both come and go without them.

    Args:
        endpoint: The hub's address on the underlay.
        gateway_for: The underlay whose private machines reach the internet through this hub.
    """
    values = {"hub": hub, "member": hub, "overlay": overlay, "policy": policy, "gateway_for": gateway_for}
    hosts = (EVERY_TRANSPORT,)
    agent = ("restart vcubev-hub.service",)
    config = {
        "ipv4": str(hub.address.ipv4),
        "overlay_ipv4": str(overlay.ipv4),
        "overlay_ipv6": str(overlay.ipv6),
        "claims_port": CONSTANTS["CLAIMS_PORT"],
        "hosts_table": CONSTANTS["HOSTS_TABLE"],
    }
    return {
        **_network("hub", values),
        **_told(hub, endpoint),
        **{
            f"/etc/vcubev/hosts-{transport}.conf": _rendered(
                "openvpn/hosts.conf.j2",
                {**values, "transport": transport},
                (f"restart vcubev-hosts@{transport}.service",),
            )
            for transport in TRANSPORTS
        },
        "/etc/vcubev/hub.json": _json(config, agent),
        **{f"{HOOKS}/{part}": _copied(f"agents/{part}", "0644", agent) for part in ("bird.py", "hub.py")},
        f"{UNITS}/vcubev-hub.service": _rendered("systemd/vcubev-hub.service.j2", {}, agent),
        f"{UNITS}/vcubev-leave.service": _rendered("systemd/vcubev-leave.service.j2", {}),
        "/etc/bird/bird.conf": _rendered("bird/bird.conf.j2", values, ("reload bird.service",)),
        # BIRD refuses to include from a directory that is not there.
        "/etc/bird/links/none.conf": FileSpec("# Each link to another hub has a file beside this one.\n"),
        f"{UNITS}/bird.service.d/vcubev.conf": _rendered(
            "systemd/bird-override.conf.j2", {}, ("restart bird.service",)
        ),
        f"{UNITS}/vcubev-hosts@.service": _rendered("systemd/vcubev-hosts@.service.j2", {}, hosts),
        f"{UNITS}/vcubev-link@.service": _rendered("systemd/vcubev-link@.service.j2", {}, (EVERY_LINK,)),
        # The daemons read hooks anew at each call.
        f"{HOOKS}/member.sh": _copied("hooks/member.sh", "0644"),
        **{
            f"{HOOKS}/{hook}": _copied(f"hooks/{hook}")
            for hook in (
                "client-connect",
                "client-disconnect",
                "drain",
                "flush-hosts",
                "learn-address",
                "link-down",
                "link-up",
            )
        },
    }


def hub_pki_files(
    ca_pem: str, certificate_pem: str, key_pem: str, tls_crypt_v2_server_key: str, link_key: str
) -> dict[str, FileSpec]:
    """Return a hub's certificates and keys."""
    hosts = EVERY_TRANSPORT
    return {
        f"{PKI}/ca.pem": FileSpec(ca_pem, on_change=(hosts, EVERY_LINK)),
        f"{PKI}/certificate.pem": FileSpec(certificate_pem, on_change=(hosts, EVERY_LINK)),
        f"{PKI}/key.pem": FileSpec(key_pem, "0600", (hosts, EVERY_LINK)),
        f"{PKI}/tls-crypt-v2.key": FileSpec(tls_crypt_v2_server_key, "0600", (hosts,)),
        f"{PKI}/link.key": FileSpec(link_key, "0600", (EVERY_LINK,)),
    }


def link_files(own: HubView, peer: HubView, link: LinkView, peer_endpoint: str) -> dict[str, FileSpec]:
    """Return one end of a link: the tunnel and the routing session over it.

    Args:
        peer_endpoint: The peer's address on the underlay.
    """
    values = {"own": own, "peer": peer, "peer_endpoint": peer_endpoint, "listens": own == link.listener}
    values["role"] = link.role(own)
    values["rank"] = link.rank
    restart = (f"restart vcubev-link@{peer.id}.service",)
    return {
        f"/etc/vcubev/links/{peer.id}.conf": _rendered("openvpn/link.conf.j2", values, restart),
        f"/etc/bird/links/{peer.id}.conf": _rendered("bird/link.conf.j2", values, ("reload bird.service",)),
        **_told(peer, peer_endpoint),
    }


def host_files(
    host: HostView, overlay: Overlay, own_hubs: Sequence[tuple[HubView, str]], policy: Policy = OPEN
) -> dict[str, FileSpec]:
    """Return a host's files, path -> file.

    Args:
        own_hubs: The hubs of its site, each with its address on the underlay. From them it hears of all others, so
            that another site changes nothing here.
    """
    values = {"host": host, "member": host, "overlay": overlay, "policy": policy}
    agent = ("restart vcubev-paths.service",)
    config = {
        "host": host.name,
        "site": host.hub_site,
        "ipv4": str(host.address.ipv4),
        "ipv6": str(host.address.ipv6),
        "overlay_ipv4": str(overlay.ipv4),
        "overlay_ipv6": str(overlay.ipv6),
        "claims_port": CONSTANTS["CLAIMS_PORT"],
    }
    files = _network("host", values)
    for hub, endpoint in own_hubs:
        files |= _told(hub, endpoint)
    return {
        **files,
        "/etc/vcubev/paths.json": _json(config, agent),
        "/etc/vcubev/path.conf": _rendered("openvpn/path.conf.j2", values, (BOTH_PATHS,)),
        **{
            f"{HOOKS}/{part}": _copied(f"agents/{part}", "0644", agent)
            for part in ("choice.py", "paths.py", "tunnels.py")
        },
        f"{UNITS}/vcubev-path@.service": _rendered("systemd/vcubev-path@.service.j2", {}, (BOTH_PATHS,)),
        f"{UNITS}/vcubev-paths.service": _rendered("systemd/vcubev-paths.service.j2", {}, agent),
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


def _network(kind: str, values: dict[str, object]) -> dict[str, FileSpec]:
    """Return what hub and host have alike: addresses and devices, kernel settings, packet filter."""
    overlay: Overlay = values["overlay"]  # type: ignore[assignment]
    hextets = ":".join(f"{int(part, 16):x}" for part in overlay.ipv6.network_address.exploded.split(":")[:3])
    restart = ("restart vcubev-net.service",)
    return {
        "/etc/vcubev/overlay.env": _rendered("hooks/overlay.env.j2", {**values, "hextets": hextets}, restart),
        "/etc/nftables.conf": _rendered(f"nftables/{kind}.nft.j2", values, ("reload nftables.service",)),
        "/etc/sysctl.d/60-vcubev.conf": _rendered(f"sysctl/{kind}.conf.j2", {}, restart),
        "/etc/sysusers.d/vcubev.conf": _rendered("sysusers/vcubev.conf.j2", {}, restart),
        f"{UNITS}/vcubev-net.service": _rendered("systemd/vcubev-net.service.j2", {}, restart),
        f"{HOOKS}/net-up": _copied(f"hooks/{kind}-net-up", on_change=restart),
        f"{HOOKS}/net-down": _copied(f"hooks/{kind}-net-down"),
    }


def _told(hub: HubView, endpoint: str) -> dict[str, FileSpec]:
    """Return what hosts hear of one hub, as a hub's agent hands it on."""
    told = {
        "id": hub.id,
        "site": hub.site,
        "name": hub.name,
        "ipv4": str(hub.address.ipv4),
        "endpoint": endpoint,
        "port": hub.port,
        "tcp_port": hub.tcp_port,
    }
    # No action: the agents look at the directory themselves.
    return {f"/etc/vcubev/hubs/{hub.id}.json": _json(told)}


def _json(values: Mapping[str, object], on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec(json.dumps(values, indent=1) + "\n", on_change=on_change)


def _rendered(template: str, values: dict[str, object], on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec(text(template, values), on_change=on_change) if values else _common(template, on_change)


@cache
def _common(template: str, on_change: tuple[str, ...]) -> FileSpec:
    return FileSpec(text(template, {}), on_change=on_change, common=True)


@cache
def _copied(path: str, mode: str = "0755", on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec((TEMPLATES / path).read_text(), mode, on_change, common=True)


def text(template: str, values: dict[str, object]) -> str:
    return _environment().get_template(template).render(**CONSTANTS, families=families, **values)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    return Environment(  # the files are no HTML
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
