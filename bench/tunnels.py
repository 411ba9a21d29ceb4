"""Links between namespaced hubs as real OpenVPN tunnels, by the files that the program renders."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

from components.model import render, tlscrypt
from components.model.topology import HubView, LinkView
from components.pki import HUB_USES
from engine.standins import tls
from tests.daemons.routed import Hubs, batch, name, until

UNDERLAY = IPv4Address("198.18.0.0")  # RFC 2544: a pair of addresses for each link
HOURS = 24


class Tunnels:
    """Makes a tunnel of each link; keeps its processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, hubs: Hubs) -> None:
        self._authority()
        for hub in hubs.by_id.values():
            self._identity(hub)
        for number, link in enumerate(hubs.topology.links):
            self._link(hubs, link, number)

    def megabytes(self) -> float:
        """Return what one process holds, on average."""
        sizes = [int(Path(f"/proc/{p.pid}/statm").read_text().split()[1]) for p in self.processes]
        return sum(sizes) * 4096 / 2**20 / len(sizes)

    def cpu_seconds(self) -> float:
        """Return what all processes have spent."""
        stats = [Path(f"/proc/{p.pid}/stat").read_text().rpartition(")")[2].split() for p in self.processes]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / 100

    def _authority(self) -> None:
        _, key = tls.make_private_key({"algorithm": "ECDSA", "rsaBits": 0, "ecdsaCurve": "P256"})
        self._key = key["privateKeyPem"]
        inputs = {
            "privateKeyPem": self._key,
            "validityPeriodHours": HOURS,
            "allowedUses": ["cert_signing", "crl_signing"],
            "subject": {"commonName": "bench"},
            "isCaCertificate": True,
            "setSubjectKeyId": True,
            "setAuthorityKeyId": False,
            "earlyRenewalHours": 0,
        }
        self._certificate = tls.make_self_signed(inputs)[1]["certPem"]

    def _identity(self, hub: HubView) -> None:
        pki = self._pki(hub)
        pki.mkdir(parents=True)
        _, key = tls.make_private_key({"algorithm": "ECDSA", "rsaBits": 0, "ecdsaCurve": "P256"})
        subject = {"commonName": hub.common_name}
        request = tls.make_request({"privateKeyPem": key["privateKeyPem"], "subject": subject})[1]["certRequestPem"]
        inputs = {
            "caCertPem": self._certificate,
            "caPrivateKeyPem": self._key,
            "certRequestPem": request,
            "validityPeriodHours": HOURS,
            "allowedUses": HUB_USES,
            "isCaCertificate": False,
            "setSubjectKeyId": False,
            "earlyRenewalHours": 0,
        }
        (pki / "ca.pem").write_text(self._certificate)
        (pki / "certificate.pem").write_text(tls.make_locally_signed(inputs)[1]["certPem"])
        for file, text in (("key.pem", key["privateKeyPem"]), ("link.key", tlscrypt.static_key("bench", "links"))):
            (pki / file).touch(0o600)
            (pki / file).write_text(text)

    def _link(self, hubs: Hubs, link: LinkView, number: int) -> None:
        ends = (link.listener, link.dialer)
        wires = [f"wire{other.id} netns {name(own.id)}" for own, other in (ends, ends[::-1])]
        batch("ip", "-batch", "-", lines=[f"link add {wires[0]} type veth peer name {wires[1]}"])
        addresses = (UNDERLAY + 2 * number, UNDERLAY + 2 * number + 1)
        for own, other, address, far in ((*ends, *addresses), (*ends[::-1], *addresses[::-1])):
            device = f"link{other.id}"
            lines = [
                f"address add {address}/31 dev wire{other.id}",
                f"link set wire{other.id} up",
                f"tuntap add dev {device} mode tun",
                f"link set {device} addrgenmode none mtu {render.CONSTANTS['MTU_BYTES']} up",
                f"address add {own.link_local}/64 dev {device} nodad",
            ]
            batch("ip", "netns", "exec", name(own.id), "ip", "-batch", "-", lines=lines)
            text = render.link_files(own, other, link, str(far))[f"/etc/vcubev/links/{other.id}.conf"].content
            config = self._pki(own) / f"{other.id}.conf"
            config.write_text(text.replace("/etc/vcubev/pki", str(self._pki(own))))
            keys = ["--key", str(self._pki(own) / "key.pem"), "--tls-crypt", str(self._pki(own) / "link.key")]
            log = config.with_suffix(".log").open("wb")
            run = ["ip", "netns", "exec", name(own.id), "openvpn", "--config", str(config), *keys]
            self.processes.append(subprocess.Popen(run, stdout=log, stderr=log))

    def joined(self) -> None:
        """Wait until every tunnel stands."""
        logs = [*self._directory.glob("pki-*/*.log")]
        until(lambda: all(b"Initialization Sequence Completed" in log.read_bytes() for log in logs), "tunnels", 90)

    def _pki(self, hub: HubView) -> Path:
        return self._directory / f"pki-{hub.id}"
