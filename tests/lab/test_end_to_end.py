"""The whole thing on real machines, through the commands that a user types. The tests build on each other, in order."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.lab import filtering, keys, monitoring, operating
from tests.lab.refused import steal, watched
from tests.lab.worktree import WorkTree

pytestmark = pytest.mark.lab
STACK = "e2e"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tree = WorkTree(tmp_path_factory.mktemp("e2e"), STACK)
    tree.lab("sweep")  # of a run that was killed
    tree.edit(
        lambda config: config.update(
            {"vcubev:services": {"db": {"on": "db", "ports": ["5432/tcp", "53/udp"], "from": ["web"]}}}
        )
    )
    try:
        yield tree
    finally:
        tree.clean()


def told(done):
    return f"exit code {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def test_a_stack_file_with_mistakes_changes_nothing_and_names_them_all(lab):
    right = lab.file.read_text()
    lab.edit(lambda config: config["vcubev:sites"]["paris"].update(id=1, cloud="gcp"))
    done = lab.up()
    assert done.returncode == 2, told(done)
    assert "sites.paris.id" in done.stderr and "sites.paris.cloud" in done.stderr
    assert not lab.backend.exists(), "nothing may be made"
    lab.file.write_text(right)


def test_up_makes_two_sites_where_every_host_reaches_every_other(lab):
    done = lab.up()
    assert done.returncode == 0, told(done)
    for host, address in {"web-1": "10.100.1.1", "db-1": "10.100.2.1", "db-2": "fd5c:ab1e:0:2::2"}.items():
        assert re.search(rf"{host}\b.*{re.escape(address)}", done.stdout), f"{host} is not in the table"
    assert done.stdout.count(" ok ") >= 12, "four hosts, each reaching three others"
    assert len(re.findall(r"at its virtual address \S+ ok, through hub", done.stdout)) == 2, told(done)


SERVER = """
import socket, threading
def serve(listener):
    while True:
        with listener.accept()[0] as connection:
            connection.sendall(b"here")
for port in (5432, 5433):
    threading.Thread(target=serve, args=(socket.create_server(("", port)),)).start()
"""
ASKED = [("web-1", "db-1", 5432), ("web-2", "db-1", 5432), ("web-1", "db-1", 5433), ("db-2", "db-1", 5432)]


def test_a_service_is_open_to_whom_the_policy_names_and_to_nobody_else(lab):
    lab.lab("exec", "db-1", "--", "systemd-run", "--quiet", "--unit=served", "python3", "-c", SERVER)
    time.sleep(1)
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5)"
    for source, target, port in ASKED:
        explained = lab.script("policy", "explain", source, target, f"{port}/tcp", "--stack", STACK)
        where = ("10.100.2.1", str(port))
        reached = lab.lab("exec", source, "--", "python3", "-c", connect, *where)
        assert (reached.returncode == 0) is (explained.returncode == 0), (source, port, told(explained), told(reached))
        assert (reached.returncode == 0) is (source.startswith("web") and port == 5432), (source, port)
    lab.lab("exec", "db-1", "--", "systemctl", "stop", "served")


def test_a_second_up_changes_nothing_and_says_so(lab):
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert "Nothing changed." in done.stdout
    assert lab.preview() == {}


def test_all_that_there_is_to_see_is_seen(lab):
    monitoring.see_it(lab)
    monitoring.watch_a_fail_over(lab)


def test_metrics_are_for_those_whom_the_stack_file_names(lab):
    monitoring.ask_for_metrics(lab)


def test_the_policy_pack_lets_the_lab_pass_and_stops_a_stack_that_opens_ssh_to_everybody(lab):
    pack = ("--policy-pack", "policy/pulumi-analyzer-vcubev")
    done = lab.pulumi("policy", "analyze", *pack)
    assert done.returncode == 0, told(done)
    right = lab.file.read_text()
    lab.edit(lambda config: config.update({"vcubev:operators": ["0.0.0.0/0"]}))
    done = lab.pulumi("preview", *pack)
    assert done.returncode != 0 and "ssh-from-everywhere" in done.stdout, told(done)
    lab.file.write_text(right)


def test_no_key_is_in_the_state_in_the_output_or_in_a_readable_file(lab):
    """Of the other places tests/lab/attacks has more."""
    secrets = keys.of_state(lab.state())
    assert len(secrets) > 25, "the search would find nothing"
    places = {"the exported state": lab.pulumi("stack", "export").stdout.encode(), **lab.places()}
    assert keys.found_in(places, secrets.values()) == set()
    passphrase = lab.backend / "passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    told = passphrase.read_bytes()
    assert not any(told in text for place, text in places.items() if place != str(passphrase))


def test_keys_on_a_machine_are_for_root_only(lab):
    find = "find /etc/vcubev /var/lib/vcubev -type f -perm /077 -exec grep -l PRIVATE {} +; ls /etc/ssh/ssh_host_*"
    for machine in ("oregon-a", "web-1", "db-2"):
        seen = lab.run("./scripts/lab", "exec", "--stack", STACK, machine, "--", "sh", "-c", find).stdout
        assert "/etc/vcubev" not in seen
        assert "ssh_host_ed25519_key" in seen and "ecdsa" not in seen, "the first contact's key must be gone"


def test_adding_a_host_shows_creates_only_and_touches_nothing(lab):
    before = operating.started(lab)
    lab.edit(lambda config: config["vcubev:sites"]["paris"]["hosts"].update({"web-3": {"role": "web", "id": 3}}))
    shown = lab.preview()
    assert set(shown) == {"create"}, shown
    assert all("web-3" in name for name in shown["create"])
    done = lab.script("up", STACK, "--only", "web-3")
    assert done.returncode == 0, told(done)
    assert re.search(r"web-3\b.*10\.100\.1\.3", done.stdout)
    assert lab.preview() == {}, "it is as an up of the whole stack would have made it"
    operating.find_by_name(lab)
    assert operating.started(lab) == before, "a daemon of an existing machine was restarted"


def test_ten_hosts_a_site_and_a_service_more_show_creates_only(lab):
    right = lab.file.read_text()
    hosts = {f"web-{n}": {"role": "web", "id": n, "private": n % 2 == 0} for n in range(10, 20)}
    tokyo = {"id": 3, "cloud": "lab", "region": "ap-east", "hubs": {"a": {"id": 3}}, "hosts": {}}
    mail = {"on": "web", "ports": ["25/tcp"], "from": ["paris"]}
    for change in (
        lambda config: config["vcubev:sites"]["paris"]["hosts"].update(hosts),
        lambda config: config["vcubev:sites"].update(tokyo=tokyo),
        lambda config: config["vcubev:services"].update(mail=mail),
    ):
        lab.edit(change)
        shown = lab.preview()
        assert set(shown) == {"create"}, shown
    on_existing = {name for name in shown["create"] if re.search(r"-(web-[123]|db-\d|(oregon|paris)-a)-", name)}
    assert all("-service-mail" in name or "-link-" in name for name in on_existing), on_existing
    lab.file.write_text(right)


def test_a_packet_filter_that_cuts_the_operators_session_is_taken_back(lab):
    filtering.take_back(lab)


def test_machines_are_logged_in_to_and_looked_at_by_name(lab):
    operating.log_in_and_look(lab)


def test_the_live_picture_shows_a_link_that_is_down_and_that_it_is_up_again(lab):
    operating.see_a_link_go_and_come(lab)


def test_renaming_a_host_makes_no_machine_anew(lab):
    operating.rename_a_host(lab)


def test_a_host_on_the_list_loses_its_route_within_two_seconds_and_no_door_lets_its_keys_in_again(lab):
    thief = steal(lab, "web-3", "web-1")
    doors = thief.ways_in()
    assert len(doors) == 4, f"UDP and TCP at two hubs would let anybody with these keys in, not {doors}"
    before = operating.started(lab)
    lab.edit(lambda config: config.update({"vcubev:revoked": ["web-3"]}))
    with watched(lab, ("oregon/a", "paris/a"), "10.100.1.3") as seconds:
        done = lab.up()
    assert done.returncode == 0 and "web-3 is refused by all hubs" in done.stdout, told(done)
    assert max(seconds.values()) < 2, seconds
    assert not thief.ways_in()
    assert operating.started(lab) == before and lab.preview() == {}


def test_everything_goes_on_when_all_but_a_backup_is_lost(lab):
    operating.go_on_with_nothing_but_a_backup(lab)


def test_a_laptop_joins_by_its_file(lab):
    operating.join_by_a_file(lab)  # on web-2, which is made anew below


def test_lost_machines_are_made_anew_with_the_same_addresses(lab):
    before = lab.addresses()
    # A hub too: its site's private host is reached through it, and must take up with the new one.
    for machine in ("web-2", "oregon-a"):
        assert lab.lab("terminate", machine).returncode == 0
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert lab.addresses() == before


def test_a_machine_that_lost_power_is_started_again_as_it_was(lab):
    before = lab.addresses()
    for machine in ("oregon-a", "db-1"):
        assert lab.lab("power-off", machine).returncode == 0
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert lab.addresses() == before
    assert "updated" in done.stdout and "replaced" not in done.stdout


def test_metrics_that_nobody_asks_for_any_more_leave_nothing_behind(lab):
    monitoring.stop_asking(lab)


def test_removing_a_site_renumbers_nobody_and_the_rest_goes_on(lab):
    before = lab.addresses()
    right = lab.file.read_text()
    thief = steal(lab, "web-2", "web-1")
    lab.edit(lambda config: config["vcubev:sites"].pop("paris"))
    shown = lab.preview()
    assert not any("replace" in operation or operation == "create" for operation in shown), shown
    done = lab.up()
    assert done.returncode == 0, told(done)
    after = lab.addresses()
    assert after == {name: address for name, address in before.items() if name in after}
    assert set(after) == {"oregon/a", "web-1", "db-1"}
    assert not thief.ways_in("oregon/a"), "a machine that was taken out may be somebody else's now"
    lab.file.write_text(right)


def test_an_up_that_was_killed_can_be_run_again(lab):
    # Its site is back, and so is the host: with another certificate, which nobody has stolen.
    lab.edit(lambda config: config.pop("vcubev:revoked"))
    environment = lab.environment
    killed = subprocess.Popen(
        ["./scripts/up", STACK], cwd=lab.tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(9)  # in the middle of paris' machines
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    operating.see_a_half_run_up(lab)
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert lab.preview() == {}


def test_hosts_that_may_not_answer_pings_are_not_taken_for_lost(lab):
    lab.edit(lambda config: config.update({"vcubev:policy": {"ping": False}}))
    done = lab.up()
    assert done.returncode == 0 and "not looked at, hosts answer no pings" in done.stdout, told(done)
    assert "100% packet loss" in lab.lab("exec", "web-1", "--", "ping", "-c", "2", "-W", "1", "10.100.1.2").stdout


def test_down_leaves_nothing(lab):
    assert json.loads(lab.pulumi("stack", "ls", "--json").stdout or "[]") is not None
    done = lab.script("down", STACK)
    assert done.returncode == 0, told(done)
    assert not lab.backend.exists(), "state and passphrase of the last lab stack"
    left = lab.lab("leftovers")
    assert left.returncode == 0, told(left)
    assert "encryptionsalt" not in lab.file.read_text()
    again = lab.script("down", STACK)
    assert again.returncode == 0 and "not up" in again.stdout
