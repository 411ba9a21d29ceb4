"""The installer on a hub whose OpenVPN processes become more or fewer: hosts leave first, where it would hurt them."""

import json
from types import SimpleNamespace

import pytest

from tests.agents.loading import load

installer = load("install", "machine")
UDP, UDP2, TCP = (f"vcubev-hosts@{door}.service" for door in ("udp", "udp2", "tcp"))
HUB = "vcubev-hub.service"
RESTART = f"restart {HUB}"


@pytest.fixture
def done(monkeypatch):
    """What was done, in order."""
    commands = []
    monkeypatch.setattr(installer, "run", lambda *command: commands.append(" ".join(command)))

    def run(command, **options):
        commands.append(" ".join(command))
        running = command[:3] != ["systemctl", "is-active", "-q"] or command[3] in commands.running
        return SimpleNamespace(returncode=0 if running else 3, stdout="2\n")

    class Commands(list):
        running: tuple[str, ...] = ()

    commands = Commands()
    monkeypatch.setattr(installer.subprocess, "run", run)
    return commands


CASES = {
    "a hub that is set up": ([], [UDP, TCP], [UDP, TCP], [RESTART], False),
    "a process more": ([UDP, TCP], [UDP, UDP2, TCP], [UDP2], [], False),
    "a process more, and another agent": ([UDP, TCP], [UDP, UDP2, TCP], [UDP2], [RESTART], True),
    "a process less": ([UDP, UDP2, TCP], [UDP, TCP], [], [], True),
    "nothing of weight": ([UDP, TCP], [UDP, TCP], [], ["reload bird.service"], False),
    "a hub whose OpenVPN was stopped": ([UDP, TCP], [UDP, TCP], [UDP], [RESTART], False),
}


@pytest.mark.parametrize("before, units, started, actions, leave", CASES.values(), ids=CASES)
def test_hosts_leave_first_where_it_would_hurt_them(done, before, units, started, actions, leave):
    with installer.rolled({"rolling": True, "units": units}, actions, started, before):
        done.append("...")
    drained = [f"{installer.DRAIN} roll", "...", f"{installer.DRAIN} settle 2"]
    assert [command for command in done if "carried" not in command] == (drained if leave else ["..."])


def test_a_process_that_has_left_the_stack_file_is_stopped_when_its_hosts_have_left_and_not_started_again(
    done, tmp_path, monkeypatch
):
    monkeypatch.setattr(installer, "BUNDLES", tmp_path)
    monkeypatch.setattr(installer, "SEEDED_HOST_KEY", tmp_path / "none")
    kept, gone = tmp_path / "hosts-udp.conf", tmp_path / "hosts-udp2.conf"
    for file in (kept, gone):
        file.write_text("x\n")
        file.chmod(0o644)
    old = {"files": {str(kept): [f"restart {UDP}"], str(gone): [f"restart {UDP2}"]}, "units": [UDP, UDP2, TCP]}
    (tmp_path / "hub.json").write_text(json.dumps(old))
    files = {str(kept): {"content": "x\n", "mode": "0644", "on_change": [f"restart {UDP}"]}}
    done.running = (UDP, UDP2, TCP)
    installer.install({"name": "hub", "files": files, "units": [UDP, TCP], "packages": [], "rolling": True})
    assert not gone.exists()
    assert done.index(f"{installer.DRAIN} roll") < done.index(f"systemctl disable --now {UDP2}")
    assert done.index(f"systemctl disable --now {UDP2}") < done.index(f"{installer.DRAIN} settle 2")
    assert not any("restart" in command for command in done), done


def test_a_socket_is_made_anew_though_its_service_is_at_work(done):
    installer.act(["restart vcubev-turn@2.socket"])
    assert done == [
        "systemctl stop vcubev-turn@2.socket vcubev-turn@2.service",
        "systemctl start vcubev-turn@2.socket",
    ], "systemd refuses to listen anew where the service is"
