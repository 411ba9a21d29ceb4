"""What has a host's programs ask hubs, in a real shell: /etc/resolv.conf in all its forms, and as it was afterwards."""

import os
import subprocess

import pytest

from tests.rendering import MACHINES, ROOT

HOOK = ROOT / "components" / "templates" / "hooks" / "lookup"
SERVERS = "".join(f"nameserver 192.0.2.{number}\n" for number in (1, 2, 3))
RESOLV = f"# by dhclient\nsearch example.org\noptions rotate\n{SERVERS}"
RESTARTED = "systemctl --no-block try-restart vcubev-resolver.service"
TOLD = """#!/bin/sh
echo "{name} $*" >>{log}
{answer}
"""


class Machine:
    """A directory in the place of a machine's root; what the hook asks others for is told, not done."""

    def __init__(self, directory):
        self.root = directory
        self.file, self.kept = directory / "etc/resolv.conf", directory / "var/lib/vcubev-lookup"
        self.log = directory / "log"
        for name in ("etc/vcubev", "run", "bin"):
            (directory / name).mkdir(parents=True)
        self.kept.mkdir(parents=True)
        for name in ("overlay.env", "names.env"):
            (directory / "etc/vcubev" / name).write_text(MACHINES["web-1"][f"/etc/vcubev/{name}"].content)
        text = HOOK.read_text()
        for place in ("/etc/", "/var/lib/"):
            text = text.replace(place, f"{directory}{place}")
        (directory / "lookup").write_text(text)
        is_active = f'[ "$1" = --no-block ] || [ -e {directory}/resolved ]'
        for name, answer in {"systemctl": is_active, "resolvectl": "", "ip": ""}.items():
            program = directory / "bin" / name
            program.write_text(TOLD.format(name=name, log=self.log, answer=answer))
            program.chmod(0o755)

    def run(self, verb):
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
        command = ["dash", self.root / "lookup", verb]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10)

    def do(self, verb):
        done = self.run(verb)
        assert done.returncode == 0 and not done.stderr, done.stderr

    def told(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def look(self):
        """Return all that can be seen of the machine's /etc."""
        found = {}
        for path in sorted((self.root / "etc").rglob("*")):
            seen = path.lstat()
            what = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else None
            found[str(path)] = (seen.st_mode, seen.st_mtime_ns if path.is_file() else 0, what)
        return found


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def plain(machine):
    machine.file.write_text(RESOLV)
    machine.file.chmod(0o640)
    os.utime(machine.file, (1_700_000_000, 1_700_000_000))


def link(machine):
    (machine.root / "run/resolv.conf").write_text(RESOLV)
    machine.file.symlink_to("../run/resolv.conf")


def dangling(machine):
    machine.file.symlink_to("../run/nothing")


def absent(machine):
    pass


FORMS = [plain, link, dangling, absent]


@pytest.mark.parametrize("form", FORMS)
def test_what_was_there_comes_back_to_the_letter_whatever_it_was(machine, form):
    form(machine)
    before = machine.look()
    for _ in range(3):
        machine.do("on")
    assert machine.look() != before
    machine.do("off")
    assert machine.look() == before
    assert not list(machine.kept.iterdir())
    machine.do("off")
    assert machine.look() == before


def test_the_stub_is_asked_first_and_the_others_when_it_does_not_answer(machine):
    plain(machine)
    machine.do("on")
    lines = machine.file.read_text().splitlines()[1:]
    servers = [f"nameserver {server}" for server in ("127.1.0.53", "192.0.2.1", "192.0.2.2")]
    assert lines == [*servers, "search example.org", "options rotate"], "the C library takes three"
    assert (machine.kept / "upstream").read_text() == RESOLV, "the stub asks those whom the machine asked"


def test_the_stub_follows_a_file_that_another_program_keeps_up_to_date(machine):
    link(machine)
    machine.do("on")
    (machine.root / "run/resolv.conf").write_text("nameserver 192.0.2.9\n")
    assert (machine.kept / "upstream").read_text() == "nameserver 192.0.2.9\n"


def test_a_link_to_nowhere_does_not_keep_the_stub_from_starting(machine):
    machine.file.symlink_to("../run/none/resolv.conf")
    machine.do("on")
    upstream = machine.kept / "upstream"
    assert not upstream.is_symlink() and upstream.read_text() == "", "dnsmasq ends where there is no such directory"


def test_the_stub_starts_anew_when_the_file_that_it_watches_is_another(machine):
    plain(machine)
    machine.do("on")
    machine.file.unlink()
    link(machine)
    machine.do("on")
    assert machine.told().count(RESTARTED) == 1


def test_whoever_rewrites_the_file_is_heard_and_has_the_last_word_when_this_ends(machine):
    plain(machine)
    machine.do("on")
    other = "nameserver 192.0.2.77\n"
    machine.file.write_text(other)
    machine.do("on")
    assert machine.file.read_text().splitlines()[1:] == ["nameserver 127.1.0.53", "nameserver 192.0.2.77"]
    assert (machine.kept / "upstream").read_text() == other
    assert RESTARTED not in machine.told(), "a look-up meanwhile would go to the others, and may wait for them"
    machine.do("off")
    assert machine.file.read_text() == other


def test_a_file_that_somebody_else_wrote_last_is_left_alone(machine):
    plain(machine)
    machine.do("on")
    machine.file.write_text("nameserver 192.0.2.77\n")
    machine.do("off")
    assert machine.file.read_text() == "nameserver 192.0.2.77\n"


def test_systemd_resolved_is_told_and_the_file_is_not_touched(machine):
    link(machine)
    (machine.root / "resolved").touch()
    before = machine.look()
    machine.do("on")
    assert machine.look() == before
    for path in ("path1", "path2"):
        assert f"resolvectl dns {path} 10.100.0.255" in machine.told()
        zones = "~vcubev.internal ~100.10.in-addr.arpa ~0.0.0.0.e.1.b.a.c.5.d.f.ip6.arpa"
        assert f"resolvectl domain {path} {zones}" in machine.told()
        assert f"resolvectl default-route {path} no" in machine.told(), "or all other questions would go to hubs"
    machine.do("off")
    assert {"resolvectl revert path1", "resolvectl revert path2"} <= set(machine.told())
    assert machine.look() == before


def test_a_machine_that_gets_systemd_resolved_later_has_its_file_back(machine):
    plain(machine)
    before = machine.look()
    machine.do("on")
    (machine.root / "resolved").touch()
    machine.do("on")
    assert machine.look() == before


def test_the_stub_runs_only_where_nobody_else_does_its_work(machine):
    assert machine.run("alone").returncode == 0
    (machine.root / "resolved").touch()
    assert machine.run("alone").returncode == 1


def test_anything_else_is_refused_with_what_there_is(machine):
    done = machine.run("maybe")
    assert done.returncode == 2 and "lookup on | off | alone" in done.stderr
