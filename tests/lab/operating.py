"""What operators do with a stack that is up, on the machines of another test's stack."""

from __future__ import annotations

import json
import subprocess
import time

from tests.lab import keys
from tests.lab.worktree import WorkTree


def told(done: subprocess.CompletedProcess[str]) -> str:
    return f"exit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"


def started(lab: WorkTree) -> list[str]:
    """Return when the daemons of two machines that exist were started."""
    show = (
        "systemctl show -p ExecMainStartTimestampMonotonic vcubev-hosts@udp vcubev-hosts@tcp vcubev-hub vcubev-link@1 "
        "vcubev-names vcubev-dns vcubev-resolver vcubev-lookup "
        "vcubev-link@2 vcubev-path@1 vcubev-path@2 vcubev-paths bird"
    )
    command = ("--", "sh", "-c", show)
    return [lab.lab("exec", name, *command).stdout for name in ("paris-a", "web-2")]


def log_in_and_look(lab: WorkTree) -> None:
    """Log in by name, directly and over the overlay, and ask for the state as programs do."""
    done = lab.script("vcubev", "ssh", "db-1", "--stack", lab.stack, "--", "hostname; exit 7")
    assert (done.returncode, done.stdout) == (7, f"{lab.stack}-db-1\n"), told(done)
    over = lab.script("vcubev", "ssh", "db-1", "--stack", lab.stack, "--via", "paris/a", "--", "echo $SSH_CONNECTION")
    assert over.stdout.split()[2:3] == ["10.100.2.1"], told(over)
    state = json.loads(lab.script("status", lab.stack, "--json").stdout)
    assert state["well"] and {host["name"] for host in state["hosts"]} == {"web-1", "web-2", "web-3", "db-1", "db-2"}


def find_by_name(lab: WorkTree) -> None:
    """Find a host that has just come, from one that was there and has no public address."""
    names = {"web-3.paris": ["10.100.1.3"], "web": [f"10.100.1.{number}" for number in (1, 2, 3)], "web-9": []}
    for name, expected in names.items():
        found = lab.lab("exec", "db-1", "--", "getent", "ahostsv4", f"{name}.vcubev.internal")
        assert sorted({line.split()[0] for line in found.stdout.splitlines()}) == expected, told(found)
    found = lab.lab("exec", "db-1", "--", "getent", "hosts", "fd5c:ab1e:0:1::3")
    assert found.stdout.split()[1:] == ["web-3.paris.vcubev.internal"], told(found)


def see_a_link_go_and_come(lab: WorkTree) -> None:
    """Cut the link, and see it in the live picture; likewise that it is back."""

    def seen():
        done = lab.script("vcubev", "topology", lab.stack, "--live", "--json")
        assert done.returncode == 0, told(done)
        picture = json.loads(done.stdout)
        states = {node["state"] for site in picture["sites"] for node in site["nodes"]}
        return next(edge["state"] for edge in picture["edges"] if edge["kind"] == "link"), states

    assert seen() == ("up", {"up"})
    lab.lab("cut", "oregon-a", "--from", "paris-a")
    time.sleep(2)
    assert seen()[0] == "down"
    lab.lab("restore", "oregon-a")
    deadline = time.monotonic() + 30
    while seen()[0] != "up":
        assert time.monotonic() < deadline


def rename_a_host(lab: WorkTree) -> None:
    """Look what the engine would do for another name."""
    right = lab.file.read_text()
    done = lab.script("vcubev", "rename", "host", "web-1", "shop", "--stack", lab.stack)
    assert done.returncode == 0 and "formerly: [web-1]" in lab.file.read_text(), told(done)
    shown = lab.preview()
    assert "create" not in shown and "delete" not in shown, shown
    assert all(f"{lab.stack}-shop" not in names for operation, names in shown.items() if "replace" in operation), shown
    lab.file.write_text(right)


def join_by_a_file(lab: WorkTree) -> None:
    """Let a plain machine join as a host that nobody sets up. It is web-2, less all that up gave it."""
    named = ("--stack", lab.stack)
    lab.script("vcubev", "add", "host", "laptop-1", "--unmanaged", "--role", "web", "--site", "paris", *named)
    done = lab.up()
    assert done.returncode == 0, told(done)
    done = lab.script("vcubev", "join-bundle", "laptop-1", "-o", "laptop-1.ovpn", *named)
    assert done.returncode == 0, told(done)
    lab.lab("exec", "web-2", "--", "systemctl", "stop", "vcubev-paths", "vcubev-path@*", "vcubev-net", "nftables")
    put = ["./scripts/vcubev", "ssh", "web-2", *named, "--", "sudo tee /root/laptop-1.ovpn >/dev/null"]
    file = (lab.tree / "laptop-1.ovpn").read_bytes()
    subprocess.run(put, cwd=lab.tree, env=lab.environment, input=file, check=True, timeout=60)
    run = ("systemd-run", "--quiet", "--unit=laptop", "openvpn", "--config", "/root/laptop-1.ovpn")
    lab.lab("exec", "web-2", "--", *run)
    for source, target in (("web-2", "10.100.2.1"), ("web-2", "fd5c:ab1e:0:2::2"), ("db-1", "10.100.1.4")):
        reached = lab.lab("exec", source, "--", "ping", "-q", "-c", "1", "-w", "15", target)
        assert reached.returncode == 0, (source, target, told(reached))


def go_on_with_nothing_but_a_backup(lab: WorkTree) -> None:
    """Lose work tree, state, passphrase and the engine's home; all is as it was by the backup."""
    secrets, before = keys.of_state(lab.state()), lab.addresses()
    passphrase = (lab.backend / "passphrase").read_bytes()
    words, file = (lab.tree.parent / name for name in ("words", "kept.backup"))
    words.write_text("seven words by dice, more or less\n")
    phrase = ("--passphrase-file", str(words))
    done = lab.script("vcubev", "backup", lab.stack, "-o", str(file), *phrase)
    assert done.returncode == 0, told(done)
    kept = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600 and passphrase not in kept
    assert len(secrets) > 25 and keys.found_in({"the backup": kept}, secrets.values()) == set()
    lab.lose()
    assert not lab.file.exists() and not lab.backend.exists()
    wrong = lab.script("vcubev", "restore", str(file), "--passphrase-file", str(lab.tree / "uv.lock"))
    assert wrong.returncode == 2 and not lab.file.exists() and not lab.backend.exists(), told(wrong)
    done = lab.script("vcubev", "restore", str(file), *phrase)
    assert done.returncode == 0, told(done)
    assert (lab.backend / "passphrase").stat().st_mode & 0o777 == 0o600
    done = lab.up()
    assert done.returncode == 0 and "Nothing changed." in done.stdout, told(done)
    assert lab.preview() == {} and lab.addresses() == before
    again = lab.script("vcubev", "restore", str(file), *phrase)
    assert again.returncode == 2 and "there already" in again.stderr, told(again)


def see_a_half_run_up(lab: WorkTree) -> None:
    """Have the doctor say that an `up` was killed, and where."""
    done = lab.script("vcubev", "doctor", lab.stack, "--json")
    found = json.loads(done.stdout)["troubles"]
    half = {one["where"]: one for one in found if one["kind"] == "half-run"}
    assert done.returncode == 3 and half.keys() & {"the state", "paris-a", "web-2", "db-2", "web-3"}, told(done)
    assert all(one["cures"] == [f"vcubev up {lab.stack}"] for where, one in half.items() if where != "oregon/a")
