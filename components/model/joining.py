"""The one file by which a host joins that nobody sets up: OpenVPN's configuration, certificate and keys inline."""

from __future__ import annotations

from collections.abc import Sequence

from components.model.files import text
from components.model.topology import HostView, HubView, Topology


def join_file(
    topology: Topology,
    host: HostView,
    endpoints: dict[str, str],
    ca_pem: str,
    certificate_pem: str,
    key_pem: str,
    tls_crypt_v2_client_key: str,
) -> str:
    """Return an .ovpn file for any OpenVPN client from 2.5 on.

    Args:
        endpoints: "site/hub" -> its address on the underlay; a hub without one is left out.
    """
    hubs = [(hub, endpoints[hub.key]) for hub in _in_order(topology.hubs, host) if hub.key in endpoints]
    pki = {"ca_pem": ca_pem, "certificate_pem": certificate_pem, "key_pem": key_pem}
    return text(
        "openvpn/join.ovpn.j2",
        {
            "host": host,
            "overlay": topology.overlay,
            "hubs": hubs,
            "doors": _doors(hubs, host),
            **pki,
            "tls_crypt_v2_client_key": tls_crypt_v2_client_key,
        },
    )


def _doors(hubs: Sequence[tuple[HubView, str]], host: HostView) -> list[tuple[str, int]]:
    """Return where it comes in by UDP: at each hub's process for this host, as agents choose it, then at another.

    No more of them: OpenVPN goes through all before it tries TCP.
    """
    seat = int(host.address.ipv4)
    doors = [(endpoint, hub.udp_ports[(seat + turn) % hub.processes]) for turn in (0, 1) for hub, endpoint in hubs]
    return list(dict.fromkeys(doors))


def _in_order(hubs: Sequence[HubView], host: HostView) -> list[HubView]:
    return sorted(hubs, key=lambda hub: (hub.site != host.hub_site, hub.id))
