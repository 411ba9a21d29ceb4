"""Whoever is on the list loses the session that is up, nobody else does; a damaged list locks nobody in or out."""

import json
import os
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509

from components.model.crl import crl_files, revocation_list
from components.model.revocation import Ledger, Revoked
from tests.agents.loading import load
from tests.components import certificates

refuse = load("refuse")
KEY = certificates.key("ca", "5" * 64)["privateKeyPem"]
CA = certificates.self_signed(
    {"subject": {"commonName": "m-ca authority"}, "privateKeyPem": KEY, "validityPeriodHours": 1000}, "7" * 64
)["certPem"]
END = x509.load_pem_x509_certificate(CA.encode()).not_valid_after_utc


class Daemon(threading.Thread):
    """A management socket as OpenVPN 2.6 has it: one client at a time, chatter in between."""

    def __init__(self, directory, sessions):
        super().__init__(daemon=True)
        directory.mkdir(parents=True)
        self.sessions, self.killed = dict(sessions), []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "management.sock"))
        self.listener.listen(1)
        for name, (address, serial) in sessions.items():
            if serial:
                (directory / f"{address}.serial").write_text(f"{serial} {name}\n")
        self.start()

    def run(self):
        with suppress(OSError):
            while True:
                with self.listener.accept()[0] as client:
                    self.serve(client)

    def serve(self, client):
        client.sendall(b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n")
        for line in client.makefile():
            verb, _, rest = line.strip().partition(" ")
            if verb == "status":
                rows = [
                    f"CLIENT_LIST\t{n}\t198.51.100.1:1\t{a}\t\t0\t0\tnow\t0\tUNDEF\t0\t0\tX"
                    for n, (a, _) in self.sessions.items()
                ]
                # In two parts, as a long answer comes.
                client.sendall(b"TITLE\tOpenVPN\r\nHEADER\tCLIENT_LIST\tCommon Name\r\n")
                time.sleep(0.02)
                client.sendall(("\r\n".join(rows) + "\r\nGLOBAL_STATS\tx\t0\r\nEND\r\n").encode())
            elif rest in self.sessions:
                self.killed.append(rest)
                client.sendall(f"SUCCESS: common name '{rest}' found, 1 client(s) killed\r\n".encode())
            else:
                client.sendall(f"ERROR: common name '{rest}' not found\r\n".encode())


@pytest.fixture
def place(monkeypatch):
    # A socket's path has 107 characters, and pytest's own directories may use them up.
    with tempfile.TemporaryDirectory(prefix="refuse-") as directory:
        for name in ("INSTALLED", "LAST_GOOD", "USED", "RUN"):
            monkeypatch.setattr(refuse, name, Path(directory) / name.lower())
        monkeypatch.setattr(refuse.sys, "argv", ["refuse.py"])
        (Path(directory) / "run").mkdir()
        yield Path(directory)


def revoked(*entries):
    return frozenset(Revoked(serial, name, END, END) for serial, name in entries)


def installed(place, entries=(), names=(), hubs=("hub.oregon.a",), number=1):
    """Put on the machine what `up` brings."""
    ledger = Ledger(revoked=revoked(*entries), number=number)
    ends = {"authority": END, "certificate": END, "revocation_list": END}
    files = crl_files([revocation_list(CA, KEY, ledger.revoked, number)], ledger, names, hubs, ends)
    (place / "installed").mkdir(exist_ok=True)
    for path, spec in files.items():
        if path.startswith("/etc/"):
            (place / "installed" / path.rpartition("/")[2]).write_text(spec.content)


def serials(pem):
    return {one.serial_number for one in x509.load_pem_x509_crl(pem.encode())}


SESSIONS = {
    "host.web-1": ("10.100.1.1", 170),
    "host.web-2": ("10.100.1.2", 171),
    "host.web-3": ("10.100.1.3", None),
    "UNDEF": ("", None),
}


@pytest.mark.parametrize(
    "entries, names, killed, reason",
    [
        ([(170, "host.web-1")], [], ["host.web-1"], "it is here with the certificate that is revoked"),
        ([(3, "host.web-1")], [], [], "it is here with another, that is good"),
        ([(3, "host.web-3")], [], ["host.web-3"], "nobody knows with which it is here"),
        ([], ["host.web-2"], ["host.web-2"], "its name is on the list"),
        ([(3, "host.web-9"), (4, "hub.oregon.a")], ["host.web-8"], [], "they are not here"),
        ([], [], [], "nobody is on the list"),
    ],
)
def test_who_is_on_the_list_loses_the_session_and_nobody_else(place, entries, names, killed, reason):
    daemons = [Daemon(place / "run" / f"vcubev-hosts-{transport}", SESSIONS) for transport in ("udp", "tcp")]
    installed(place, entries, names)
    began = time.monotonic()
    assert refuse.main() == 0
    assert [daemon.killed for daemon in daemons] == [killed, killed], reason
    assert time.monotonic() - began < 1


def test_a_daemon_that_does_not_answer_does_not_keep_the_others_from_it(place):
    (place / "run" / "vcubev-hosts-aaa").mkdir()
    daemon = Daemon(place / "run" / "vcubev-hosts-udp", SESSIONS)
    installed(place, [(170, "host.web-1")])
    assert refuse.main() == 0 and daemon.killed == ["host.web-1"]


def test_a_link_ends_whose_peer_is_on_the_list_while_it_is_a_hub(place, monkeypatch):
    done = []
    monkeypatch.setattr(refuse.subprocess, "run", lambda command, **options: done.append(command[-1]))
    for peer, serial in (("2", 20), ("3", 30), ("4", 40)):
        (place / "run" / f"vcubev-link{peer}").mkdir()
        (place / "run" / f"vcubev-link{peer}" / "serial").write_text(f"{serial}\n")
    entries = [(20, "hub.oregon.a"), (30, "hub.paris.a"), (4, "hub.oregon.a")]
    installed(place, entries, hubs=["hub.oregon.a"])
    assert refuse.main() == 0
    assert done == ["vcubev-link@2.service"], "hosts are still on a hub that is about to go"


def test_preparing_ends_no_session(place, monkeypatch):
    monkeypatch.setattr(refuse.sys, "argv", ["refuse.py", "prepare"])
    daemon = Daemon(place / "run" / "vcubev-hosts-udp", SESSIONS)
    installed(place, [(170, "host.web-1")])
    assert refuse.main() == 0 and not daemon.killed
    assert serials((place / "used" / "crl.pem").read_text()) == {170}
    assert (place / "used" / "refused").read_text() == "170\n"


DAMAGES = {
    "gone": lambda file: file.unlink(),
    "empty": lambda file: file.write_text(""),
    "cut short": lambda file: file.write_text(file.read_text()[:-60]),
    "one of two lists": lambda file: file.with_name("crl.json").write_text(
        json.dumps({**json.loads(file.with_name("crl.json").read_text()), "lists": 2})
    ),
    "something else": lambda file: file.write_text(CA),
    "no JSON": lambda file: file.with_name("crl.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_list_is_passed_over_for_the_last_good_one_and_said_aloud(place, damage, capsys):
    installed(place, [(170, "host.web-1")])
    assert refuse.main() == 0
    DAMAGES[damage](place / "installed" / "crl.pem")
    for file in (place / "used").iterdir():
        file.unlink()  # as after a reboot
    assert refuse.main() == 0
    assert serials((place / "used" / "crl.pem").read_text()) == {170}, "with a list it cannot read it lets nobody in"
    assert f"the revocation list in {place / 'installed'} is of no use" in capsys.readouterr().err


def test_with_no_list_at_all_no_daemon_starts_and_it_is_said_aloud(place, capsys):
    assert refuse.main() == 1
    assert "THERE IS NO REVOCATION LIST" in capsys.readouterr().err
    assert not (place / "used" / "crl.pem").exists()


def test_a_list_that_is_the_same_keeps_its_time_by_which_openvpn_knows_it(place):
    installed(place, [(170, "host.web-1")])
    refuse.main()
    before = (place / "used" / "crl.pem").stat()
    refuse.main()
    after = (place / "used" / "crl.pem").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    installed(place, [(171, "host.web-2")], number=2)
    refuse.main()
    assert serials((place / "used" / "crl.pem").read_text()) == {171}


def test_an_authority_that_has_ended_is_said_aloud(place, capsys, monkeypatch):
    installed(place)
    monkeypatch.setattr(refuse.time, "time", lambda: END.timestamp() + 1)
    assert refuse.main() == 0
    assert "HAS ENDED" in capsys.readouterr().err


def test_a_full_disk_costs_the_copy_and_nothing_else(place, capsys, monkeypatch):
    installed(place, [(170, "host.web-1")])
    (place / "last_good").write_text("no directory")
    assert refuse.main() == 0
    assert serials((place / "used" / "crl.pem").read_text()) == {170}
    assert "no copy" in capsys.readouterr().err


@pytest.mark.parametrize("earlier", [None, 0o700], ids=["after a boot", "where it went wrong before"])
def test_whoever_runs_it_first_after_a_boot_everybody_reads_the_list(place, earlier):
    """Daemons that strangers speak to let nobody read what they make, and that goes for what they run before."""
    installed(place)
    if earlier is not None:
        refuse.take_over()
        (place / "used").chmod(earlier)
    before = os.umask(0o077)
    try:
        refuse.take_over()
    finally:
        os.umask(before)
    assert (place / "used").stat().st_mode & 0o777 == 0o755
