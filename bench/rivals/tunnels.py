"""OpenVPN as its manual's first example has it, nebula and wireguard-go: defaults only, all at rest side by side."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.loads import Way
from bench.rivals import machines
from bench.rivals.building import built
from bench.rivals.machines import ENDS, MIDDLE
from components.pki import HUB_USES
from engine.standins import tls

HOURS = 24
CONNECT_SECONDS = 30
DIRECTORY = "/root/rivals"


def raw() -> Way:
    return Way("raw underlay", *map(machines.namespace, ENDS), machines.address(ENDS[1]))


class OpenVpn:
    """One server, and clients that are given addresses by it."""

    def __init__(self, number: int, name: str, server: str, clients: tuple[str, ...], *more: str) -> None:
        self.name, self.server, self.clients = name, server, clients
        self._device, self._port, self._net = f"tun{number}", 1194 + number, f"10.8.{number}"
        self._more = more

    def make(self, authority: Authority) -> None:
        where = f"{DIRECTORY}/openvpn{self._port}"
        for name in (self.server, *self.clients):
            for file, text in authority.identity(f"{name}-{self._port}").items():
                machines.put(name, f"{where}/{file}", text.encode())
        keys = f"--cd {where} --ca ca.pem --cert certificate.pem --key key.pem --dev {self._device}"
        machines.run(self.server, "sysctl -qw net.ipv4.ip_forward=1")
        served = f"--server {self._net}.0 255.255.255.0 --topology subnet --port {self._port} --dh none"
        machines.serve(self.server, f"openvpn{self._port}", f"openvpn {served} {' '.join(self._more)} {keys}")
        call = f"--client --nobind --remote {machines.address(self.server)} {self._port} --remote-cert-tls server"
        for name in self.clients:
            machines.serve(name, f"openvpn{self._port}", f"openvpn {call} {keys}")

    def way(self) -> Way:
        ends = ENDS if self.server == MIDDLE else (self.clients[0], self.server)
        for name in (self.server, *self.clients):
            machines.until(name, f"ip -4 address show {self._device} | grep -q inet", CONNECT_SECONDS)
        shown = machines.run(ends[1], f"ip -json -4 address show {self._device}")
        carriers = tuple(map(machines.namespace, {*ends, self.server}))
        address = json.loads(shown)[0]["addr_info"][0]["local"]
        return Way(self.name, *map(machines.namespace, ends), address, "openvpn", carriers)


class Authority:
    """Signs the certificates of OpenVPN's clients and servers."""

    def __init__(self) -> None:
        self._key = self._new_key()
        inputs = {
            "privateKeyPem": self._key,
            "validityPeriodHours": HOURS,
            "allowedUses": ["cert_signing", "crl_signing"],
            "subject": {"commonName": "rivals"},
            "isCaCertificate": True,
            "setSubjectKeyId": True,
            "setAuthorityKeyId": False,
            "earlyRenewalHours": 0,
        }
        self._certificate = tls.make_self_signed(inputs)[1]["certPem"]

    def identity(self, name: str) -> dict[str, str]:
        """Return file name -> PEM."""
        key = self._new_key()
        request = tls.make_request({"privateKeyPem": key, "subject": {"commonName": name}})[1]["certRequestPem"]
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
        certificate = tls.make_locally_signed(inputs)[1]["certPem"]
        return {"ca.pem": self._certificate, "certificate.pem": certificate, "key.pem": key}

    def _new_key(self) -> str:
        return tls.make_private_key({"algorithm": "ECDSA", "rsaBits": 0, "ecdsaCurve": "P256"})[1]["privateKeyPem"]


def nebula() -> Way:
    """Start nebula at both ends; the second is the lighthouse."""
    overlay = dict(zip(ENDS, ("10.8.8.1", "10.8.8.2"), strict=True))
    program, signer = built("nebula").read_bytes(), str(built("nebula-cert"))
    with tempfile.TemporaryDirectory() as directory:
        sign = lambda *arguments: subprocess.run([signer, *arguments], cwd=directory, check=True, capture_output=True)  # noqa: E731
        sign("ca", "-name", "rivals")
        for name, address in overlay.items():
            sign("sign", "-name", name, "-ip", f"{address}/24")
            config = {
                "pki": {key: f"{DIRECTORY}/{key}" for key in ("ca", "cert", "key")},
                "static_host_map": {overlay[ENDS[1]]: [f"{machines.address(ENDS[1])}:4242"]},
                "lighthouse": {
                    "am_lighthouse": name == ENDS[1],
                    "hosts": [overlay[ENDS[1]]] if name == ENDS[0] else [],
                },
                "listen": {"host": "0.0.0.0", "port": 4242},
                "tun": {"dev": "nebula0"},
                "firewall": {way: [{"port": "any", "proto": "any", "host": "any"}] for way in ("inbound", "outbound")},
            }
            for key, file in (("ca", "ca.crt"), ("cert", f"{name}.crt"), ("key", f"{name}.key")):
                machines.put(name, f"{DIRECTORY}/{key}", (Path(directory) / file).read_bytes())
            # JSON is YAML.
            machines.put(name, f"{DIRECTORY}/nebula.yml", json.dumps(config).encode())
            machines.put(name, f"{DIRECTORY}/nebula", program, "700")
            machines.serve(name, "nebula", f"{DIRECTORY}/nebula -config {DIRECTORY}/nebula.yml")
    machines.until(ENDS[0], f"ping -c1 -W1 {overlay[ENDS[1]]}", CONNECT_SECONDS)
    namespaces = tuple(map(machines.namespace, ENDS))
    return Way("nebula, direct", *namespaces, overlay[ENDS[1]], "nebula", namespaces)


# wireguard-go takes its configuration at a socket; the tools for it are one more package.
CONFIGURE = """
import socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect("/var/run/wireguard/wg0.sock")
asked.sendall(sys.stdin.buffer.read())
answer = asked.recv(100)
sys.exit(0 if b"errno=0" in answer else answer.decode())
"""


def wireguard() -> Way:
    """Start wireguard-go at both ends."""
    overlay = dict(zip(ENDS, ("10.8.9.1", "10.8.9.2"), strict=True))
    keys = {name: X25519PrivateKey.generate() for name in ENDS}
    for name, other in (ENDS, ENDS[::-1]):
        machines.put(name, f"{DIRECTORY}/wireguard-go", built("wireguard-go").read_bytes(), "700")
        machines.serve(name, "wireguard", f"{DIRECTORY}/wireguard-go --foreground wg0")
        machines.until(name, "test -S /var/run/wireguard/wg0.sock", CONNECT_SECONDS)
        settings = (
            f"set=1\nprivate_key={keys[name].private_bytes_raw().hex()}\nlisten_port=51820\n"
            f"public_key={keys[other].public_key().public_bytes_raw().hex()}\n"
            f"endpoint={machines.address(other)}:51820\nallowed_ip={overlay[other]}/32\n\n"
        )
        configure = base64.b64encode(CONFIGURE.encode()).decode()
        decode = f"import base64; exec(base64.b64decode('{configure}'))"
        machines.run(name, f'python3 -c "{decode}"', settings.encode())
        machines.run(name, f"ip address add {overlay[name]}/24 dev wg0; ip link set wg0 mtu 1420 up")
    machines.until(ENDS[0], f"ping -c1 -W1 {overlay[ENDS[1]]}", CONNECT_SECONDS)
    namespaces = tuple(map(machines.namespace, ENDS))
    return Way("wireguard-go, direct", *namespaces, overlay[ENDS[1]], "wireguard-go", namespaces)


def all_ways() -> list[Way]:
    """Start them all; return the ways, the raw one first."""
    authority = Authority()
    servers = (
        OpenVpn(0, "OpenVPN defaults, host-hub-host", MIDDLE, ENDS),
        OpenVpn(1, "OpenVPN defaults, client-to-client", MIDDLE, ENDS, "--client-to-client"),
        OpenVpn(2, "OpenVPN defaults, direct", ENDS[1], ENDS[:1]),
    )
    for server in servers:
        server.make(authority)
    return [raw(), *(server.way() for server in servers), nebula(), wireguard()]
