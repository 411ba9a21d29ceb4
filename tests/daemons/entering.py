"""A hub's OpenVPN daemons with their hooks in a network namespace, and its hosts' clients; needs no root."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.model import render, tlscrypt
from components.model.crl import crl_files, revocation_list
from components.model.revocation import Ledger, Revoked
from components.model.topology import HubView
from tests.rendering import TOPOLOGY

needs_openvpn = [
    pytest.mark.skipif(shutil.which("openvpn", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="no OpenVPN"),
    pytest.mark.skipif(not os.access("/dev/net/tun", os.W_OK), reason="no /dev/net/tun"),
]
OVERLAY = TOPOLOGY.overlay
PROTOCOLS = {"udp": "udp4", "tcp": "tcp4-client"}
IN = "Initialization Sequence Completed"
SECRET = "of the channel"
NAMES = {"web-1": "10.100.1.1", "web-2": "10.100.1.2"}
TRUSTED = Path("/etc/vcubev/pki")
LIFE_SECONDS = 600  # of a namespace, if nobody ends it before


class Signer:
    """A CA whose certificates are as the program's are."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), None)

    def issue(self, common_name: str, address: str, use: x509.ObjectIdentifier) -> tuple[str, str, int]:
        """Return certificate, key and serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = {NameOID.COMMON_NAME: common_name, NameOID.SERIAL_NUMBER: address}
        subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts.items()])
        signed = self._sign(subject, key.public_key(), use)
        return _pem(signed), _key_pem(key), signed.serial_number

    def crl(self, revoked: frozenset[Revoked], number: int) -> str:
        return revocation_list(_pem(self.certificate), _key_pem(self.key), revoked, number)

    def _sign(self, subject, public, use):
        now = datetime.now(UTC).replace(microsecond=0)
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        usage |= {"decipher_only": False, "digital_signature": use is not None}
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(use is None, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(**usage, key_cert_sign=use is None, crl_sign=use is None), critical=True)
        )
        if use is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        return builder.sign(self.key, SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


class Mesh:
    """One hub's daemons and its hosts' clients, over the loopback of a namespace or from namespaces of their own."""

    own_user = True  # in a user namespace of its own: no need for root

    def __init__(self, place: Path, stack: ExitStack, hub: HubView, names: dict[str, str] = NAMES) -> None:
        self.place, self._stack, self.hub, self.names = place, stack, hub, names
        self.doors = {door.name: door for door in hub.doors}
        self.daemons: dict[str, subprocess.Popen] = {}
        self.hosts: dict[str, list[str]] = {}  # host -> the command that enters its namespace
        self._inside = self._namespace([], *("--user", "--map-root-user") * self.own_user)
        for door in self.doors:
            self.run("ip", "tuntap", "add", "dev", f"hosts-{door}", "mode", "tun")
            self.run("ip", "link", "set", f"hosts-{door}", "mtu", render.CONSTANTS["MTU_BYTES"], "up")
        self.signers = [Signer("m-ca authority"), Signer("m-ca authority 2")]
        self.revoked: frozenset[Revoked] = frozenset()
        self.number = 0
        self.serials: dict[str, int] = {}
        ca = "".join(_pem(signer.certificate) for signer in self.signers)
        certificate, key, _ = self.signers[0].issue("hub.oregon.a", "10.100.0.1", ExtendedKeyUsageOID.SERVER_AUTH)
        server_key = tlscrypt.v2_server_key(SECRET)
        files = render.hub_files(hub, OVERLAY, "127.0.0.1")
        files |= render.hub_pki_files(ca, certificate, key, server_key, tlscrypt.static_key(SECRET, "links"))
        self._put(files)
        asked = self.path("/run/vcubev-routes")
        asked.mkdir(parents=True)
        self.start("routes", sys.executable, self.path("/usr/local/lib/vcubev/routes.py"))
        until((asked / "sessions").exists, 5)
        self.revoke()
        for name in names:
            self.enroll(name, self.signers[0])

    def _namespace(self, within: list[str], *more: str) -> list[str]:
        """Make a network namespace; return the command that enters it."""
        hold = [*within, "unshare", *more, "--net", "sh", "-c", f"echo $$; exec sleep {LIFE_SECONDS}"]
        holder = self._stack.enter_context(subprocess.Popen(hold, stdout=subprocess.PIPE, text=True))
        self._stack.callback(holder.kill)
        inside = ["nsenter", f"--target={holder.stdout.readline().strip()}", "--net"]
        inside += ["--user", "--preserve-credentials"] * self.own_user
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True, timeout=10)
        return inside

    def place_host(self, name: str) -> None:
        """Give a host a namespace of its own, with a wire to the hub and its address in the overlay."""
        number = len(self.hosts)
        inside = self.hosts[name] = self._namespace(self._inside)
        holder, wire = inside[1].partition("=")[2], f"wire{number}"
        self.run("ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", holder)
        self.run("ip", "address", "add", f"198.18.{number}.0/31", "dev", wire)
        self.run("ip", "link", "set", wire, "up")
        for command in (
            f"ip address add 198.18.{number}.1/31 dev eth0",
            "ip link set eth0 up",
            f"ip address add {self.names[name]}/32 dev lo",
        ):
            self.run(*command.split(), host=name)

    def forward(self) -> None:
        """Have the hub carry its hosts' packets to each other."""
        self.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.run("ip", "rule", "add", "pref", "100", "lookup", "100")

    def path(self, path: str | Path) -> Path:
        return Path(f"{self.place}{path}")

    def _put(self, files) -> None:
        for path, spec in files.items():
            content = spec.content
            for old in ("/etc/vcubev", "/usr/local/lib/vcubev", "/var/lib/vcubev", "/run"):
                # Of our own only: a program's first line stays.
                content = content.replace(f'"{old}', f'"{self.place}{old}').replace(f" {old}/", f" {self.place}{old}/")
                for before in ("=", ">", "\n"):
                    content = content.replace(f"{before}{old}/", f"{before}{self.place}{old}/")
            self.path(path).parent.mkdir(parents=True, exist_ok=True)
            self.path(path).write_text(content)
            self.path(path).chmod(int(spec.mode, 8))

    def enroll(self, name: str, signer: Signer) -> None:
        """Give a host a certificate."""
        certificate, key, self.serials[name] = signer.issue(
            f"host.{name}", self.names[name], ExtendedKeyUsageOID.CLIENT_AUTH
        )
        home = self.path(f"/{name}")
        home.mkdir(exist_ok=True)
        (home / "certificate.pem").write_text(certificate)
        (home / "key.pem").write_text(key)
        (home / "key.pem").chmod(0o600)
        (home / "channel.key").write_text(tlscrypt.v2_client_key(SECRET, key))
        (home / "channel.key").chmod(0o600)

    def revoke(self, *names: str) -> str:
        """Bring the hub a new list, as `up` does; return what refuse.py says."""
        end = datetime.now(UTC) + timedelta(hours=1)
        self.revoked |= {Revoked(self.serials[name], f"host.{name}", end, end) for name in names}
        self.number += bool(names)
        ends = {"authority": end, "certificate": end, "revocation_list": end}
        lists = [signer.crl(self.revoked, self.number) for signer in self.signers]
        self._put(crl_files(lists, Ledger(revoked=self.revoked, number=self.number), (), (), ends))
        return self.refuse()

    def refuse(self, *arguments: str) -> str:
        program = self.path("/usr/local/lib/vcubev/refuse.py")
        done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, timeout=20)
        self.code = done.returncode
        return done.stdout + done.stderr

    def run(self, *command: object, host: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program on the hub, or on a host."""
        inside = self.hosts.get(host, self._inside)
        return subprocess.run([*inside, *map(str, command)], capture_output=True, text=True, timeout=20)

    def start(self, log: str, *command: object, host: str = "") -> Path:
        """Start a daemon; return its log."""
        file, inside = self.path(f"/{log}.log"), self.hosts.get(host, self._inside)
        process = subprocess.Popen([*inside, *map(str, command)], stdout=file.open("w"), stderr=subprocess.STDOUT)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        self.daemons[log] = process
        return file

    def serve(self, door: str) -> Path:
        pki = self.path(TRUSTED)
        self.path(f"/run/vcubev-hosts-{door}").mkdir(parents=True, exist_ok=True)
        unit = self.path(f"{render.UNITS}/vcubev-hosts@.service").read_text()
        environment = re.findall("^Environment=(.+)$", unit, re.MULTILINE)
        config = self.path(f"/etc/vcubev/hosts-{door}.conf")
        command = ["env", *environment, "openvpn", "--config", config, "--key", pki / "key.pem"]
        log = self.start(door, *command, "--tls-crypt-v2", pki / "tls-crypt-v2.key", "force-cookie")
        return log

    def connect(self, name: str, door: str, attempt: int = 1, more: Sequence[str] = ()) -> Path:
        """Start a host's client, which stays at one door.

        Args:
            more: Options of OpenVPN's.
        """
        home, at = self.path(f"/{name}"), self.doors[door]
        device = f"{name}{door}{attempt}"
        client = f"--client --nobind --dev {device} --dev-type tun --ifconfig-noexec --route-noexec"
        words = "--verb 3 --tls-version-min 1.3 --remote-cert-tls server --connect-retry 1 1 --connect-retry-max 2"
        keys = ["--ca", self.path(TRUSTED) / "ca.pem", "--cert", home / "certificate.pem", "--key", home / "key.pem"]
        address = f"198.18.{list(self.hosts).index(name)}.0" if name in self.hosts else "127.0.0.1"
        way = ["--remote", address, at.port, PROTOCOLS[at.transport], "--tls-crypt-v2", home / "channel.key"]
        log = f"{name}-{door}-{attempt}"
        return self.start(log, "openvpn", *client.split(), *words.split(), *keys, *way, *more, host=name)

    def use(self, name: str, door: str, attempt: int = 1) -> None:
        """Let a host send by one of its tunnels."""
        device = f"{name}{door}{attempt}"
        self.run("ip", "link", "set", device, "mtu", render.CONSTANTS["MTU_BYTES"], "up", host=name)
        self.run("ip", "route", "replace", OVERLAY.ipv4, "dev", device, "src", self.names[name], host=name)

    def routes(self) -> set[str]:
        return {address for address, _ in self.places()}

    def places(self) -> list[tuple[str, str]]:
        """Return (host's address, device) of each route to a host, in order."""
        shown = self.run("ip", "-4", "route", "show", "table", "100").stdout
        return sorted((line.split()[0], line.split()[2]) for line in shown.splitlines())


def until(true, seconds: float) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds, "it did not come true"
        time.sleep(0.02)
    return time.monotonic() - began


def is_in(log: Path) -> bool:
    return IN in log.read_text()
