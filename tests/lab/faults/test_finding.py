"""Names on real machines: any host finds any other, and what dies, host or hub, costs a moment only."""

import re
import time

import pytest

from tests.lab.faults.looking import full, look_up, questions, until, watched

pytestmark = [pytest.mark.lab, pytest.mark.alone]
PUBLIC, PRIVATE = "web-1", "ldap-2"
# OpenVPN on a hub believes in a silent host for 8 s (HUB_PING_RESTART_SECONDS); then the route goes, and the name.
DEAD_HOST_SECONDS = 12
ROLE = full("ldap")


def of_role(world, role):
    return [host for host in world.hosts.values() if host["role"] == role]


def in_role(world, role, family):
    return sorted(host[family] for host in of_role(world, role))


@pytest.mark.parametrize("machine", [PUBLIC, PRIVATE, "db-1"])
def test_any_host_finds_every_other_by_name_and_by_address_in_both_families(world, machine):
    expected, back = {}, {}
    for name, host in world.hosts.items():
        own = [host["ipv4"], host["ipv6"]]
        expected |= {full(name, host["site"]): own, full(name): own}
        if name != machine:  # a machine's own addresses are its own affair (nss-myhostname)
            back |= dict.fromkeys(own, full(name, host["site"]))
    for role in ("web", "db", "ldap"):
        expected[full(role)] = in_role(world, role, "ipv4") + in_role(world, role, "ipv6")
    expected |= {full("nobody"): [], full("web-1", "tokyo"): []}
    assert look_up(world, machine, expected, back) == (expected, back)


def test_a_dead_host_leaves_its_roles_answer_and_comes_back_to_it(world):
    both = in_role(world, "ldap", "ipv4")
    dead = world.hosts["ldap-1"]["ipv4"]
    with watched(world, PUBLIC, ROLE) as answers:
        time.sleep(1)
        moment = time.monotonic()
        world.lab("power-off", "ldap-1")
        time.sleep(DEAD_HOST_SECONDS)
    before = [answer for answer in answers if answer.began + answer.seconds < moment]
    assert before and all(answer.addresses == both for answer in before)
    gone = [answer.began for answer in answers if dead not in answer.addresses]
    assert gone, "it is still there"
    last = max(answer.began for answer in answers if dead in answer.addresses)
    assert all(answer.addresses for answer in answers), "the other one was always there"
    world.lab("start", "ldap-1")
    back = until(world, PUBLIC, ROLE, both + in_role(world, "ldap", "ipv6"), 60)
    world.told.append(f"names: a dead host left its role after {last - moment:.1f} s; back in {back:.1f} s")


def test_a_hubs_death_costs_a_look_up_less_than_a_second(world):
    hub = world.hubs_of(PUBLIC)[0]
    name, expected = full("db-2", "paris"), [world.hosts["db-2"]["ipv4"]]
    with watched(world, PUBLIC, name) as answers:
        time.sleep(1)
        world.lab("power-off", hub)
        time.sleep(15)
    assert all(answer.addresses == expected for answer in answers)
    longest = max(answer.seconds for answer in answers)
    world.told.append(f"names: a hub lost power; the longest of {len(answers)} look-ups took {longest * 1000:.0f} ms")
    assert longest < 1.5


@pytest.mark.parametrize("unit", ["vcubev-dns", "vcubev-names", "bird"])
def test_a_hub_that_loses_one_of_its_daemons_answers_on(world, unit):
    hub = world.hubs_of(PUBLIC)[0]
    name, expected = full("db-2", "paris"), [world.hosts["db-2"]["ipv4"]]
    with watched(world, PUBLIC, name) as answers:
        time.sleep(1)
        world.kill(hub, f"{unit}.service")
        time.sleep(4)
    assert all(answer.addresses == expected for answer in answers), [a for a in answers if a.addresses != expected][:3]
    longest = max(answer.seconds for answer in answers)
    world.told.append(f"names: {unit} killed; the longest look-up took {longest * 1000:.0f} ms")
    assert longest < 1.5


def test_a_hub_learns_again_what_it_has_forgotten(world):
    hub = world.hubs_of(PUBLIC)[0]
    world.run(hub, "systemctl stop vcubev-names && rm -f /run/vcubev-names/hosts/* && systemctl start vcubev-names")
    expected = [world.hosts["ldap-2"][family] for family in ("ipv4", "ipv6")]
    assert until(world, PUBLIC, full("ldap-2", "tokyo"), expected, 5) < 5, "the other hubs were asked for it"


def test_only_questions_for_the_overlay_go_to_hubs(world):
    server = world.run(PUBLIC, "sed -n 's/^NAMES_SERVER=//p' /etc/vcubev/names.env").strip()
    watching = questions(world, PUBLIC, 4)
    look_up(world, PUBLIC, ["debian.org", "internal", full("db-2", "paris")], ["192.0.2.1", "10.101.2.2"])
    seen = [line for line in watching.communicate(timeout=20)[0].splitlines() if f"> {server}.53" in line]
    asked = {re.search(r"(?:A|AAAA|PTR)\? (\S+)\.", line)[1] for line in seen if "? " in line}
    assert asked == {full("db-2", "paris"), "2.2.101.10.in-addr.arpa"}


RESOLV = "/etc/resolv.conf"
OTHERS = "# by somebody else\nsearch example.org\nnameserver 192.0.2.53\n"


def test_what_others_write_into_resolv_conf_is_kept_and_what_was_there_comes_back(world):
    before = world.run(PUBLIC, "cat /var/lib/vcubev-lookup/before; stat -c '%a %Y' /var/lib/vcubev-lookup/before")
    world.run(PUBLIC, f"printf '{OTHERS}' >/etc/resolv.conf.other && mv /etc/resolv.conf.other {RESOLV}")
    try:
        world.until(lambda: "127.1.0.53" not in world.run(PUBLIC, f"cat {RESOLV}"), 5, "ours has not come back")
        lines = world.run(PUBLIC, f"grep -v ^# {RESOLV}").splitlines()
        assert lines == ["nameserver 127.1.0.53", "nameserver 192.0.2.53", "search example.org"]
        expected = [world.hosts["db-2"][family] for family in ("ipv4", "ipv6")]
        assert until(world, PUBLIC, full("db-2", "paris"), expected, 5) < 5
        world.run(PUBLIC, "systemctl stop vcubev-lookup.path vcubev-lookup")
        assert world.run(PUBLIC, f"cat {RESOLV}") == OTHERS
    finally:
        world.run(
            PUBLIC, f"printf '%s\\n' '# No DNS in the lab' >{RESOLV}; systemctl start vcubev-lookup vcubev-lookup.path"
        )
    assert before and "127.1.0.53" in world.run(PUBLIC, f"cat {RESOLV}")


def test_with_systemd_resolved_both_hubs_are_asked_for_the_overlay_and_for_nothing_else(world):
    """As some clouds' images have it."""
    own = f"cp -a {RESOLV} /root/resolv.before; systemctl stop vcubev-lookup.path vcubev-lookup vcubev-resolver"
    begin = f"{own}; systemctl start systemd-resolved; ln -sf /run/systemd/resolve/stub-resolv.conf {RESOLV}"
    start = "systemctl start vcubev-resolver; systemctl start vcubev-lookup vcubev-lookup.path"
    world.run(PUBLIC, f"{begin}; {start}")
    try:
        assert world.run(PUBLIC, "systemctl is-active vcubev-resolver", check=False).strip() == "inactive"
        assert world.run(PUBLIC, f"readlink {RESOLV}").strip() == "/run/systemd/resolve/stub-resolv.conf"
        host = world.hosts["db-2"]
        names = {full("db-2", "paris"): [host["ipv4"], host["ipv6"]], "debian.org": []}
        found = look_up(world, PUBLIC, names, [host["ipv4"]])
        assert found == (names, {host["ipv4"]: full("db-2", "paris")})
        shown = world.run(PUBLIC, "resolvectl domain path1; resolvectl default-route path2")
        assert f"~{full()}" in shown and ": no" in shown
        hub = world.hubs_of(PUBLIC)[0]
        with watched(world, PUBLIC, full("db-2", "paris")) as answers:
            time.sleep(1)
            world.lab("power-off", hub)
            time.sleep(6)
        assert all(answer.addresses == [host["ipv4"]] for answer in answers)
        longest = max(answer.seconds for answer in answers)
        world.told.append(f"names: the same by systemd-resolved: {longest * 1000:.0f} ms")
    finally:
        stop = "systemctl stop vcubev-lookup.path vcubev-lookup; systemctl stop systemd-resolved"
        world.run(PUBLIC, f"{stop}; rm -f {RESOLV}; : >{RESOLV}; {start}")
    expected = [world.hosts["db-2"][family] for family in ("ipv4", "ipv6")]
    assert until(world, PUBLIC, full("db-2", "paris"), expected, 5) < 5
