"""Two ends of a direct tunnel with the real OpenVPN and its hook: only the host that was meant is at the other end."""

import os
import subprocess
import time
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from components.model.direct import HOOKS_OF_TUNNELS, OPTIONS, direct_files
from components.model.files import HOOKS
from tests.agents.loading import load
from tests.daemons.entering import OVERLAY, Signer, _pem, is_in, needs_openvpn, until
from tests.rendering import TOPOLOGY

means = load("means")
pytestmark = needs_openvpn
HOST = TOPOLOGY.hosts[0]
PORT = 20_301
LISTENER, DIALER = "10.100.1.1", "10.100.1.2"
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
WAIT_SECONDS = 10


class Ends:
    """Both in one namespace; each has its own files."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self._place, self._stack = place, stack
        self.signer = Signer("m-ca authority")
        hold = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo $$; exec sleep 120"]
        holder = stack.enter_context(subprocess.Popen(hold, stdout=subprocess.PIPE, text=True))
        stack.callback(holder.kill)
        self._inside = ["nsenter", f"--target={holder.stdout.readline().strip()}", "--net", "--user"]
        self._inside += ["--preserve-credentials"]
        subprocess.run([*self._inside, "ip", "link", "set", "lo", "up"], check=True)

    def begin(self, name, peer, identity, secret="ab" * 32, listen=False):
        """Start one end; return its log.

        Args:
            identity: Certificate and key.
        """
        home = self._place / name
        home.mkdir()
        files = direct_files(HOST, OVERLAY, IPv4Network("172.30.1.0/24"), "", "203.0.113.1", identity[0])
        hook = home / "direct-verified"
        hook.write_text(files[f"{HOOKS}/direct-verified"].content)
        hook.chmod(0o755)
        slot = 1 if listen else 2
        lines = means.options(slot, IPv4Address(peer), listen, "127.0.0.1", PORT)
        whole = files[OPTIONS].content + "\n".join(lines) + "\n"
        for old, new in ((means.VERIFIED, hook), (means.PKI, home)):
            whole = whole.replace(str(old), str(new))
        (home / "options").write_text(whole)
        (home / "ca.pem").write_text(_pem(self.signer.certificate))
        for file in ("direct.pem", "certificate.pem"):
            (home / file).write_text(identity[0])
        means.private_file(home / "key.pem", identity[1])
        means.private_file(home / "tunnel.key", means.static_key(secret))
        subprocess.run([*self._inside, "ip", "tuntap", "add", "dev", f"direct{slot}", "mode", "tun"], check=True)
        log = home / "log"
        keys = ["--key", str(home / "key.pem"), "--tls-crypt", str(home / "tunnel.key")]
        openvpn = [*self._inside, "openvpn", "--config", str(home / "options"), *keys]
        process = subprocess.Popen(openvpn, stdout=log.open("w"), stderr=subprocess.STDOUT)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return log

    def issue(self, name, address, use, signer=None):
        return (signer or self.signer).issue(name, address, use)[:2]


@pytest.fixture
def ends(tmp_path):
    with ExitStack() as stack:
        yield Ends(tmp_path, stack)


def never_in(*logs):
    time.sleep(4)
    assert not any(is_in(log) for log in logs)


def test_two_hosts_find_each_other(ends):
    one = ends.begin("one", DIALER, ends.issue("host.web-1", LISTENER, SERVER), listen=True)
    two = ends.begin("two", LISTENER, ends.issue("host.web-2", DIALER, CLIENT))
    until(lambda: is_in(one) and is_in(two), WAIT_SECONDS)
    assert "cipher=AES-256-GCM" in one.read_text() and "TLSv1.3" in one.read_text()


@pytest.mark.parametrize(
    "name, address, reason",
    [
        ("host.db-1", "10.100.2.1", "its address is 10.100.2.1, not 10.100.1.2"),
        ("host.web-2", "10.100.1.20", "its address is 10.100.1.20, not 10.100.1.2"),
        ("hub.oregon.a", DIALER, "VERIFY X509NAME ERROR"),
    ],
)
def test_a_dialer_with_anothers_certificate_is_refused(ends, name, address, reason):
    one = ends.begin("one", DIALER, ends.issue("host.web-1", LISTENER, SERVER), listen=True)
    two = ends.begin("two", LISTENER, ends.issue(name, address, CLIENT))
    until(lambda: reason in one.read_text(), WAIT_SECONDS)
    never_in(one)
    assert "Peer Connection Initiated" not in one.read_text()
    assert two.exists()


def test_a_listener_with_anothers_certificate_is_refused(ends):
    ends.begin("one", DIALER, ends.issue("host.db-1", "10.100.2.1", SERVER), listen=True)
    two = ends.begin("two", LISTENER, ends.issue("host.web-2", DIALER, CLIENT))
    until(lambda: "its address is 10.100.2.1, not 10.100.1.1" in two.read_text(), WAIT_SECONDS)
    never_in(two)


def test_another_authoritys_certificate_is_refused(ends):
    stranger = Signer("m-ca authority")
    one = ends.begin("one", DIALER, ends.issue("host.web-1", LISTENER, SERVER), listen=True)
    two = ends.begin("two", LISTENER, ends.issue("host.web-2", DIALER, CLIENT, stranger))
    until(lambda: "VERIFY ERROR" in one.read_text(), WAIT_SECONDS)
    never_in(one, two)


def test_who_has_not_the_tunnels_secret_is_not_even_answered(ends):
    one = ends.begin("one", DIALER, ends.issue("host.web-1", LISTENER, SERVER), listen=True)
    two = ends.begin("two", LISTENER, ends.issue("host.web-2", DIALER, CLIENT), secret="cd" * 32)
    until(lambda: "tls-crypt unwrap error" in one.read_text(), WAIT_SECONDS)
    never_in(one, two)
    assert "Initial packet" not in two.read_text()


@pytest.mark.parametrize(
    "line, asked",
    [
        ("start 3", "restart --no-block vcubev-direct@3.service"),
        ("stop 8", "stop --no-block vcubev-direct@8.service"),
        ("start 9", ""),
        ("start 12", ""),
        ("stop 1 2", ""),
        ("start ../1", ""),
        ("restart 1", ""),
        ("", ""),
    ],
)
def test_root_takes_no_other_word_than_which_tunnel_is_to_begin_or_end(tmp_path, line, asked):
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n')
    systemctl.chmod(0o755)
    files = direct_files(HOST, OVERLAY, IPv4Network("172.30.1.0/24"), "", "", "CERTIFICATE\n")
    assert f"{HOOKS}/direct-turn" in files and "direct-turn" in HOOKS_OF_TUNNELS
    (tmp_path / "turn").write_text(files[f"{HOOKS}/direct-turn"].content)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-eu", tmp_path / "turn"], input=f"{line}\n", text=True, env=environment, check=True)
    told = tmp_path / "asked"
    assert (told.read_text().strip() if told.exists() else "") == asked
