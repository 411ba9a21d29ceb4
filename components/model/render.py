"""From views to the files that machines are given: pure functions over components/templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO
from ruamel.yaml.scalarstring import LiteralScalarString

from components.model.topology import LINK_PORTS, HostView, HubView, LinkView, Overlay

TEMPLATES = Path(__file__).parents[1] / "templates"

# What every template may use. Timers: one second is the fastest OpenVPN's ping can be; 4 is the lowest restart that
# 20 % loss does not trip; a hub waits twice as long as its hosts, as OpenVPN's own keepalive does.
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
    "LINK_PORTS": LINK_PORTS,
}

HUB_PACKAGES = ("bird2", "chrony", "nftables", "openvpn", "python3", "sudo")
HOST_PACKAGES = ("chrony", "nftables", "openvpn", "python3", "sudo")
# Started in this order.
HUB_UNITS = ("vcubev-net.service", "nftables.service", "bird.service", "vcubev-hosts.service")
HOST_UNITS = ("vcubev-net.service", "nftables.service", "vcubev-client.service")

HOOKS = "/usr/local/lib/vcubev"
PKI = "/etc/vcubev/pki"
UNITS = "/etc/systemd/system"
EVERY_LINK = "restart vcubev-link@*.service"


@dataclass(frozen=True)
class FileSpec:
    """One file of a machine.

    `on_change` lists what a changed content asks for: "restart UNIT", "reload UNIT" or "run COMMAND".
    """

    content: str
    mode: str = "0644"
    on_change: tuple[str, ...] = ()


def hub_files(hub: HubView, overlay: Overlay) -> dict[str, FileSpec]:
    """Return a hub's files, path -> file. They name no host and no link, so both come and go without them."""
    values = {"hub": hub, "member": hub, "overlay": overlay}
    hosts = ("restart vcubev-hosts.service",)
    return {
        **_network("hub", values),
        "/etc/vcubev/hosts.conf": _rendered("openvpn/hosts.conf.j2", values, hosts),
        "/etc/bird/bird.conf": _rendered("bird/bird.conf.j2", values, ("reload bird.service",)),
        # BIRD refuses to include from a directory that is not there.
        "/etc/bird/links/none.conf": FileSpec("# Each link to another hub has a file beside this one.\n"),
        f"{UNITS}/bird.service.d/vcubev.conf": _rendered(
            "systemd/bird-override.conf.j2", {}, ("restart bird.service",)
        ),
        f"{UNITS}/vcubev-hosts.service": _rendered("systemd/vcubev-hosts.service.j2", {}, hosts),
        f"{UNITS}/vcubev-link@.service": _rendered("systemd/vcubev-link@.service.j2", {}, (EVERY_LINK,)),
        # The daemons read hooks anew at each call.
        f"{HOOKS}/member.sh": _copied("hooks/member.sh", "0644"),
        **{
            f"{HOOKS}/{hook}": _copied(f"hooks/{hook}")
            for hook in ("client-connect", "client-disconnect", "learn-address", "flush-hosts", "link-up", "link-down")
        },
    }


def hub_pki_files(
    ca_pem: str, certificate_pem: str, key_pem: str, tls_crypt_v2_server_key: str, link_key: str
) -> dict[str, FileSpec]:
    """Return a hub's certificates and keys."""
    hosts = "restart vcubev-hosts.service"
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
    restart = (f"restart vcubev-link@{peer.id}.service",)
    return {
        f"/etc/vcubev/links/{peer.id}.conf": _rendered("openvpn/link.conf.j2", values, restart),
        f"/etc/bird/links/{peer.id}.conf": _rendered("bird/link.conf.j2", values, ("reload bird.service",)),
    }


def host_files(host: HostView, overlay: Overlay, remotes: Sequence[tuple[HubView, str]]) -> dict[str, FileSpec]:
    """Return a host's files, path -> file.

    Args:
        remotes: Hubs in the order in which the host tries them, each with its address on the underlay.
    """
    values = {"host": host, "member": host, "overlay": overlay, "remotes": remotes}
    client = ("restart vcubev-client.service",)
    return {
        **_network("host", values),
        "/etc/vcubev/client.conf": _rendered("openvpn/client.conf.j2", values, client),
        f"{UNITS}/vcubev-client.service": _rendered("systemd/vcubev-client.service.j2", {}, client),
    }


def host_pki_files(
    ca_pem: str, certificate_pem: str, key_pem: str, tls_crypt_v2_client_key: str
) -> dict[str, FileSpec]:
    """Return a host's certificate and keys."""
    client = ("restart vcubev-client.service",)
    return {
        f"{PKI}/ca.pem": FileSpec(ca_pem, on_change=client),
        f"{PKI}/certificate.pem": FileSpec(certificate_pem, on_change=client),
        f"{PKI}/key.pem": FileSpec(key_pem, "0600", client),
        f"{PKI}/tls-crypt-v2.key": FileSpec(tls_crypt_v2_client_key, "0600", client),
    }


def cloud_config(
    packages: Sequence[str],
    login_user: str,
    login_public_key: str,
    ssh_host_private_key: str,
    ssh_host_public_key: str,
) -> str:
    """Return a machine's user_data: packages, login and the host key of the first contact, and nothing else.

    Source: https://docs.cloud-init.io/en/latest/reference/modules.html
    """
    config = {
        "package_update": True,
        "packages": list(packages),
        "disable_root": True,
        "ssh_pwauth": False,
        "users": [
            {
                "name": login_user,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [login_public_key.strip()],
            }
        ],
        # With keys given, cloud-init makes none of its own.
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ecdsa_private": LiteralScalarString(ssh_host_private_key),
            "ecdsa_public": ssh_host_public_key.strip(),
        },
    }
    text = StringIO()
    writer = YAML()
    writer.width = 4096
    writer.dump(config, text)
    return _text("cloud-init/user-data.j2", {"config": text.getvalue()})


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


def _rendered(template: str, values: dict[str, object], on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec(_text(template, values), on_change=on_change)


def _copied(path: str, mode: str = "0755", on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec((TEMPLATES / path).read_text(), mode, on_change)


def _text(template: str, values: dict[str, object]) -> str:
    return _environment().get_template(template).render(**CONSTANTS, **values)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    return Environment(  # the files are no HTML
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
