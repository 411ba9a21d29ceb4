"""Real OpenVPN daemons in a namespace: who is revoked loses a live session at once, and no door lets them in again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
from tests.rendering import TOPOLOGY

pytestmark = [
    pytest.mark.skipif(shutil.which("openvpn", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="no OpenVPN"),
    pytest.mark.skipif(not os.access("/dev/net/tun", os.W_OK), reason="no /dev/net/tun"),
]
HUB, OVERLAY = TOPOLOGY.hubs[0], TOPOLOGY.overlay
DOORS = {"udp": (1194, "udp4"), "tcp": (443, "tcp4-client")}
IN = "Initialization Sequence Completed"
SECRET = "of the channel"
CUT_SECONDS = 2
NAMES = {"web-1": "10.100.1.1", "web-2": "10.100.1.2"}
TRUSTED = Path("/etc/vcubev/pki")


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
    """One hub's two daemons and its hosts' clients, over the loopback of a namespace."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place, self._stack = place, stack
        self.daemons: dict[str, subprocess.Popen] = {}
        holder = stack.enter_context(
            subprocess.Popen(["unshare", "--user", "--map-root-user", "--net", "sleep", "120"])
        )
        stack.callback(holder.kill)
        self._inside = ["nsenter", f"--target={holder.pid}", "--user", "--net", "--preserve-credentials"]
        _until(lambda: self.run("ip", "link", "set", "lo", "up").returncode == 0, 5)
        for device in ("hosts-udp", "hosts-tcp"):
            self.run("ip", "tuntap", "add", "dev", device, "mode", "tun")
            self.run("ip", "link", "set", device, "up")
        self.signers = [Signer("m-ca authority"), Signer("m-ca authority 2")]
        self.revoked: frozenset[Revoked] = frozenset()
        self.number = 0
        self.serials: dict[str, int] = {}
        ca = "".join(_pem(signer.certificate) for signer in self.signers)
        certificate, key, _ = self.signers[0].issue("hub.oregon.a", "10.100.0.1", ExtendedKeyUsageOID.SERVER_AUTH)
        server_key = tlscrypt.v2_server_key(SECRET)
        files = render.hub_files(HUB, OVERLAY, "127.0.0.1")
        files |= render.hub_pki_files(ca, certificate, key, server_key, tlscrypt.static_key(SECRET, "links"))
        self._put(files)
        asked = self.path("/run/vcubev-routes")
        asked.mkdir(parents=True)
        self.start("routes", sys.executable, self.path("/usr/local/lib/vcubev/routes.py"))
        _until((asked / "socket").exists, 5)
        self.list()
        for name in NAMES:
            self.enroll(name, self.signers[0])

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
            f"host.{name}", NAMES[name], ExtendedKeyUsageOID.CLIENT_AUTH
        )
        home = self.path(f"/{name}")
        home.mkdir(exist_ok=True)
        (home / "certificate.pem").write_text(certificate)
        (home / "key.pem").write_text(key)
        (home / "key.pem").chmod(0o600)
        (home / "channel.key").write_text(tlscrypt.v2_client_key(SECRET, key))
        (home / "channel.key").chmod(0o600)

    def list(self, *names: str) -> str:
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

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._inside, *map(str, command)], capture_output=True, text=True, timeout=20)

    def start(self, log: str, *command: object) -> Path:
        """Start a daemon; return its log."""
        file = self.path(f"/{log}.log")
        process = subprocess.Popen([*self._inside, *map(str, command)], stdout=file.open("w"), stderr=subprocess.STDOUT)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        self.daemons[log] = process
        return file

    def serve(self, transport: str) -> Path:
        pki = self.path(TRUSTED)
        self.path(f"/run/vcubev-hosts-{transport}").mkdir(parents=True, exist_ok=True)
        command = ["openvpn", "--config", self.path(f"/etc/vcubev/hosts-{transport}.conf"), "--key", pki / "key.pem"]
        log = self.start(transport, *command, "--tls-crypt-v2", pki / "tls-crypt-v2.key", "force-cookie")
        return log

    def connect(self, name: str, transport: str, attempt: int = 1) -> Path:
        home, (port, protocol) = self.path(f"/{name}"), DOORS[transport]
        client = f"--client --nobind --dev {name}{transport}{attempt} --dev-type tun --ifconfig-noexec --route-noexec"
        words = "--verb 3 --tls-version-min 1.3 --remote-cert-tls server --connect-retry 1 1 --connect-retry-max 2"
        keys = ["--ca", self.path(TRUSTED) / "ca.pem", "--cert", home / "certificate.pem", "--key", home / "key.pem"]
        door = ["--remote", "127.0.0.1", port, protocol, "--tls-crypt-v2", home / "channel.key"]
        return self.start(f"{name}-{transport}-{attempt}", "openvpn", *client.split(), *words.split(), *keys, *door)

    def routes(self) -> set[str]:
        shown = self.run("ip", "-4", "route", "show", "table", "100").stdout
        return {line.split()[0] for line in shown.splitlines()}


def _until(true, seconds: float) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds, "it did not come true"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    place = Path(tempfile.mkdtemp(prefix="refusal"))  # a socket's path must be short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        yield Mesh(place, stack)


def is_in(log: Path) -> bool:
    return IN in log.read_text()


@pytest.mark.parametrize("transport", DOORS)
def test_a_live_session_of_who_is_revoked_ends_at_once_and_no_door_lets_it_in_again(mesh, transport):
    logs = {door: mesh.serve(door) for door in DOORS}
    for log in logs.values():
        _until(lambda log=log: is_in(log), 10)
    for name in NAMES:
        log = mesh.connect(name, transport)
        _until(lambda log=log: is_in(log), 10)
    _until(lambda: mesh.routes() == set(NAMES.values()), 5)
    began = time.monotonic()
    said = mesh.list("web-1")
    _until(lambda: mesh.routes() == {NAMES["web-2"]}, CUT_SECONDS)
    seconds = time.monotonic() - began
    assert seconds < CUT_SECONDS
    print(f"{transport}: cut after {seconds:.2f} s, with the signing of the list")
    assert f"vcubev-hosts-{transport}: SUCCESS: common name 'host.web-1' found, 1 client(s) killed" in said
    mesh.daemons[f"web-1-{transport}-1"].send_signal(signal.SIGTERM)
    tries = {door: mesh.connect("web-1", door, 2) for door in DOORS}
    for door, log in logs.items():
        _until(lambda log=log: "certificate revoked" in log.read_text(), 10)
        assert f"serial={mesh.serials['web-1']}" in log.read_text()
        assert not is_in(tries[door])
    assert mesh.routes() == {NAMES["web-2"]}, "nobody else loses anything"


def test_a_host_with_a_new_certificate_keeps_its_session_when_the_old_one_is_revoked(mesh):
    log = mesh.serve("udp")
    _until(lambda: is_in(log), 10)
    old = mesh.serials["web-1"]
    mesh.enroll("web-1", mesh.signers[1])
    new, mesh.serials["web-1"] = mesh.serials["web-1"], old
    client = mesh.connect("web-1", "udp")
    _until(lambda: is_in(client), 10)
    assert "killed" not in mesh.list("web-1")
    assert mesh.routes() == {NAMES["web-1"]}
    # The second of two lists, which OpenVPN reads anew beside the old one.
    mesh.serials["web-1"] = new
    assert "1 client(s) killed" in mesh.list("web-1")
    mesh.daemons["web-1-udp-1"].send_signal(signal.SIGTERM)
    again = mesh.connect("web-1", "udp", 2)
    _until(lambda: "certificate revoked" in log.read_text(), 10)
    assert not is_in(again)


def test_a_damaged_list_lets_nobody_back_in_and_locks_nobody_out(mesh):
    mesh.list("web-1")
    for damage in ("", "-----BEGIN X509 CRL-----\nMIIB\n"):
        mesh.path("/etc/vcubev/crl/crl.pem").write_text(damage)
        shutil.rmtree(mesh.path("/run/vcubev-crl"))
        assert "is of no use" in mesh.refuse("prepare") and mesh.code == 0
    log = mesh.serve("udp")
    _until(lambda: is_in(log), 10)
    good, bad = mesh.connect("web-2", "udp"), mesh.connect("web-1", "udp")
    _until(lambda: is_in(good), 10)
    _until(lambda: "certificate revoked" in log.read_text(), 10)
    assert not is_in(bad)


def test_a_list_that_goes_while_a_daemon_runs_changes_nothing(mesh):
    log = mesh.serve("udp")
    _until(lambda: is_in(log), 10)
    mesh.path("/run/vcubev-crl/crl.pem").unlink()
    client = mesh.connect("web-2", "udp")
    _until(lambda: is_in(client), 10)


def test_with_no_list_at_all_nothing_starts_and_it_is_said_aloud(mesh):
    for directory in ("/etc/vcubev/crl", "/run/vcubev-crl", "/var/lib/vcubev/crl"):
        shutil.rmtree(mesh.path(directory))
    (mesh.path("/usr/local/lib/vcubev")).mkdir(exist_ok=True)
    assert "THERE IS NO REVOCATION LIST" in mesh.refuse("prepare") and mesh.code == 1
    log = mesh.serve("udp")
    _until(lambda: mesh.daemons["udp"].poll() is not None, 10)
    assert "crl" in log.read_text() and not is_in(log)
