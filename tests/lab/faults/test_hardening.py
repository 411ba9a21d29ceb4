"""What each daemon may do on its machine, and what anybody may read there: on the mesh of the fault tests."""

import json
import re

import pytest

from scripts.cli.exposure import PROBE, parse

pytestmark = [pytest.mark.lab, pytest.mark.alone]
# Figures of systemd 252; a unit that may reach more than before fails here. BIRD is Debian's own unit with our drop-in.
MOST = {
    "vcubev-hosts@": 1.5,
    "vcubev-link@": 1.1,
    "vcubev-path@": 1.1,
    "vcubev-routes": 1.1,
    "vcubev-hub": 1.6,
    "vcubev-names": 1.4,
    "vcubev-dns": 1.5,
    "vcubev-resolver": 1.5,
    "vcubev-lookup": 1.3,
    "vcubev-paths": 1.8,
    "vcubev-turn@": 0.7,
    "vcubev-leave": 1.6,
    "vcubev-net": 2.2,
    "vcubev-offload": 2.0,
    "bird": 2.9,
}
RIGHTS = {
    "vcubev-hosts@udp": (),
    "vcubev-hosts@tcp": ("net_bind_service",),
    "vcubev-link@": (),
    "vcubev-path@": (),
    "vcubev-routes": ("net_admin",),
    "vcubev-hub": ("net_admin",),
    "vcubev-names": (),
    "vcubev-dns": ("net_bind_service",),
    "vcubev-resolver": ("net_bind_service",),
    "vcubev-lookup": (),
    "vcubev-paths": ("net_admin", "net_raw"),
    "vcubev-turn@": (),
    "vcubev-leave": ("net_raw",),
    "vcubev-net": ("net_admin",),
    "vcubev-offload": ("net_admin",),
}
# BIRD becomes its own user by itself.
ROOT_ONLY_WHERE_IT_MUST_BE = {"vcubev-turn@", "vcubev-net", "vcubev-offload", "vcubev-lookup", "bird"}


def named(unit):
    """Return a unit's name as the tables above have it."""
    return unit if unit in RIGHTS or "@" not in unit else unit.partition("@")[0] + "@"


@pytest.fixture(scope="module", autouse=True)
def restored(mesh):
    """Bring back what a test of another file has taken away."""
    mesh.restore()


@pytest.fixture(scope="module")
def exposures(mesh):
    return {
        name: parse(mesh.run(name, PROBE)) for name in ("oregon/a", "oregon/b", "web-1", "db-1") if name in known(mesh)
    }


def known(mesh):
    return {*mesh.hubs, *mesh.hosts}


def test_no_daemon_can_reach_more_of_its_machine_than_it_could(exposures):
    seen = {}
    for units in exposures.values():
        for unit, own in units.items():
            place = unit.partition("@")[0] + "@" if "@" in unit else unit
            seen[place] = max(seen.get(place, 0), own.exposure)
    print(json.dumps(seen, indent=1))
    assert set(seen) == set(MOST), "a unit more or less than there should be"
    assert not {unit: figure for unit, figure in seen.items() if figure > MOST[unit]}


def test_no_daemon_has_a_right_that_it_does_not_need(exposures):
    for machine, units in exposures.items():
        for unit, own in units.items():
            if unit != "bird":
                assert own.rights == RIGHTS[named(unit)], f"{unit} on {machine}"
            assert (own.user == "root") is (named(unit) in ROOT_ONLY_WHERE_IT_MUST_BE), f"{unit} on {machine}"


STATUS = """for unit in vcubev-hosts@udp vcubev-hosts@tcp; do
  awk -v unit=$unit '{ sub(":", "") } /^(CapEff|NoNewPrivs|Seccomp)\t/ { print unit, $1, $2 }' \
    /proc/$(systemctl show --property=MainPID --value $unit)/status
done"""
NET_BIND_SERVICE = 1 << 10  # linux/capability.h


def test_openvpn_that_strangers_speak_to_has_no_capability_while_it_runs(mesh):
    for hub in mesh.hubs:
        seen = {(unit, key): int(value, 16) for unit, key, value in map(str.split, mesh.run(hub, STATUS).splitlines())}
        assert seen["vcubev-hosts@udp", "CapEff"] == 0
        assert seen["vcubev-hosts@tcp", "CapEff"] == NET_BIND_SERVICE
        assert all(value for (_, key), value in seen.items() if key != "CapEff"), "no new privileges; a seccomp filter"


PLACES = "/etc/vcubev /var/lib/vcubev /var/lib/vcubev-paths /run/vcubev* /usr/local/lib/vcubev"
NOBODY = "setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --bounding-set=-all"
TUNNEL = NOBODY.replace("=nobody", "=vcubev-tunnel").replace("=nogroup", "=vcubev-tunnel")
# No secret is in these: programs, the address plan, what daemons with no rights are told, what operators look at.
READABLE = re.compile(
    r"/usr/local/lib/vcubev/.*|/etc/vcubev/[^/]+\.(env|json|conf)|/etc/vcubev/(hubs|links|services|doors|nearest)/[^/]+"
    r"|/etc/vcubev/pki/(ca|certificate)\.pem|(/etc/vcubev/|/var/lib/vcubev/|/run/vcubev-)crl/[^/]+"
    r"|/run/vcubev-(hub|paths|names|nearest|offload)/.*|/var/lib/vcubev-lookup/.*|/var/lib/vcubev/(draining|brought)"
)


def find(mesh, machine, user, test):
    return set(mesh.run(machine, f"{user} find {PLACES} {test} -print 2>/dev/null || :").split())


def test_nobody_else_on_a_machine_reads_what_is_no_business_of_theirs_or_writes_anything(mesh):
    for machine in (next(iter(mesh.hubs)), "web-1"):
        everything = find(mesh, machine, "", "-type f")
        assert {"/etc/vcubev/pki/key.pem", "/etc/vcubev/pki/tls-crypt-v2.key"} <= everything, "the search finds nothing"
        assert not {path for path in find(mesh, machine, NOBODY, "-type f -readable") if not READABLE.fullmatch(path)}
        assert not find(mesh, machine, NOBODY, "-writable -not -type l")
        assert not find(mesh, machine, "", "-type f -name '*.key' -perm /077")
        assert not find(mesh, machine, "", r"\( -type f -o -type d \) -perm /022")


def test_whoever_takes_over_openvpn_writes_only_to_its_own_directory_and_to_the_fifo_of_routes(mesh):
    hub = next(iter(mesh.hubs))
    own = re.compile(r"/run/vcubev-(hosts-(udp|tcp)|link\d+)(/.*)?|/run/vcubev-routes/sessions")
    written = find(mesh, hub, TUNNEL, "-writable -not -type l")
    assert "/run/vcubev-routes/sessions" in written
    assert not {path for path in written if not own.fullmatch(path)}
    assert "/etc/vcubev/pki/key.pem" not in find(mesh, hub, TUNNEL, "-readable"), "the key comes to it as a credential"


def test_a_hub_that_cannot_write_routes_takes_no_host_and_takes_it_when_it_can(world):
    world.settle()
    host = "web-1"
    _, hub = world.hubs_of(host)  # of its spare: no traffic is lost
    since = world.run(hub, "date +%s").strip()
    world.run(hub, "systemctl stop vcubev-routes")
    try:
        spare = 3 - world.state(host)["active"]
        world.kill(host, f"vcubev-path@{spare}.service")
        refused = f"journalctl -q --since=@{since} -u 'vcubev-hosts@*' | grep -c 'refused host.{host}: nobody is here'"
        world.until(lambda: int(world.run(hub, refused, check=False)) == 0, 10, "the host was not refused")
        world.agree()
    finally:
        world.run(hub, "systemctl start vcubev-routes")
    world.settle()
