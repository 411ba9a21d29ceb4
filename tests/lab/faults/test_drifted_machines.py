"""Machines that somebody has changed by hand: `vcubev drift` says what, and puts right that and nothing else."""

import json

import pytest

from scripts.cli.drift import Deviation, marked
from tests.lab.faults.repacking import repack, version_of

pytestmark = [pytest.mark.lab, pytest.mark.alone]
PKI, CODE, UNITS = "/etc/vcubev/pki", "/usr/local/lib/vcubev", "/etc/systemd/system"
SILENT = "web-4"  # powered off meanwhile
# Machine -> what somebody does there, and what is to be seen: (kind, what) -> a fault.
CHANGES = {
    "web-1": (
        "echo '# mine' >>/etc/vcubev/path.conf;"
        f"mkdir {UNITS}/vcubev-path@.service.d; printf '[Service]\\nNice=5\\n' >{UNITS}/vcubev-path@.service.d/my.conf;"
        "nft add rule inet vcubev input tcp dport 99 accept; systemctl daemon-reload",
        {
            ("file", "/etc/vcubev/path.conf"): "changed",
            ("foreign drop-in", f"{UNITS}/vcubev-path@.service.d/my.conf"): "not of this stack",
            ("packet filter", "inet vcubev"): "differs in the kernel",
        },
    ),
    "db-1": ("systemctl disable --now -q vcubev-paths", {("unit", "vcubev-paths.service"): "stopped"}),
    "web-3": (
        "echo 'tcp dport 1-65535 accept' >>/etc/vcubev/services/web.nft; sysctl -qw net.ipv4.conf.default.rp_filter=1;"
        "dpkg --remove --force-depends fping >/dev/null",
        {
            ("file", "/etc/vcubev/services/web.nft"): "changed",
            ("kernel setting", "net.ipv4.conf.default.rp_filter"): "1 instead of 2",
            ("package", "fping"): "not installed",
        },
    ),
    "ldap-1": (
        f"rm /var/lib/vcubev/bundles/host.json; echo 1 >{CODE}/own.py; rm {CODE}/choice.py;"
        f"ln -s /etc/hostname {CODE}/choice.py",
        {
            ("record", "/var/lib/vcubev/bundles/host.json"): "missing",
            ("foreign file", f"{CODE}/own.py"): "not of this stack",
            ("file", f"{CODE}/choice.py"): "a symbolic link to /etc/hostname",
        },
    ),
    "oregon/a": (
        f"rm {CODE}/member.sh; chown 65534 /etc/bird/bird.conf; echo '# x' >/etc/bird/links/x.conf;"
        "systemctl mask --now -q bird",
        {
            ("file", f"{CODE}/member.sh"): "missing",
            ("file", "/etc/bird/bird.conf"): "owner 65534:0 instead of root",
            ("foreign file", "/etc/bird/links/x.conf"): "not of this stack",
            ("unit", "bird.service"): "masked",
        },
    ),
    "paris/a": (
        f"chmod 644 {PKI}/key.pem; echo x >>{PKI}/link.key",
        {("file", f"{PKI}/key.pem"): "mode 0644 instead of 0600", ("file", f"{PKI}/link.key"): "changed"},
    ),
}


def drift(world, *options):
    done = world.tree.script("vcubev", "drift", world.tree.stack, *options, "--json")
    assert done.stdout, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout), done


def kept(world):
    """Return the main processes of daemons on the machines that nobody has touched.

    Without tunnels: hosts take theirs elsewhere while a hub is put right.
    """
    untouched = [name for name in (*world.hubs, *world.hosts) if name not in (*CHANGES, SILENT)]
    show = "systemctl show -p Id -p MainPID 'vcubev-*' bird nftables"
    told = {name: world.run(name, show).split("\n\n") for name in untouched}
    return {name: sorted(unit for unit in units if "vcubev-path@" not in unit) for name, units in told.items()}


def test_where_nobody_has_changed_anything_there_is_no_drift(world):
    code, told, _ = drift(world)
    assert (code, told["drift"], told["unseen"]) == (0, [], {}) and told["compared"] == len(world.hubs) + len(
        world.hosts
    )


def test_all_that_was_changed_is_seen_is_put_right_by_an_up_and_nothing_else_is_touched(world):
    keys = [line for name in ("paris/a", "web-1") for line in world.run(name, f"cat {PKI}/*.key {PKI}/key.pem").split()]
    repack(world, "web-3", "fping", version_of(world, "web-3", "fping"))
    for name, (change, _) in CHANGES.items():
        world.run(name, change)
    world.lab("power-off", SILENT)

    code, told, done = drift(world)
    assert code == 3 and set(told["unseen"]) == {SILENT}, told
    found = {(one["machine"], one["kind"], one["what"]): one for one in told["drift"]}
    for name, (_, expected) in CHANGES.items():
        for (kind, what), fault in expected.items():
            assert fault in found.get((name, kind, what), {}).get("faults", ()), (name, kind, what, sorted(found))
    assert {machine for machine, _, _ in found} == set(CHANGES), "nobody else has drifted"
    assert "+# mine" in found["web-1", "file", "/etc/vcubev/path.conf"]["difference"]
    assert "+\t\ttcp dport 99 accept" in found["web-1", "packet filter", "inet vcubev"]["difference"]
    assert not [key for key in keys if len(key) > 20 and key in done.stdout + done.stderr], "a key was shown"

    world.lab("start", SILENT)
    before = kept(world)
    code, told, done = drift(world, "--repair")
    assert (code, told["drift"], told["unseen"]) == (0, [], {}), (told, done.stderr[-3000:])
    assert kept(world) == before, "a daemon of a machine that had not drifted was restarted"
    world.settle()
    assert "+nice" not in world.run("web-1", "systemctl show -p Nice vcubev-path@1")
    assert "mine" not in world.run("web-1", "systemctl cat vcubev-path@1; cat /etc/vcubev/path.conf")
    taken = world.run("web-1", "find /var/lib/vcubev/taken-away -type f")
    assert taken.strip() == f"/var/lib/vcubev/taken-away{UNITS}/vcubev-path@.service.d/my.conf"

    resources = world.tree.state()["deployment"]["resources"]
    installed = {r["urn"].rpartition("::")[2]: r["outputs"] for r in resources if "Command" in r["type"]}
    wrote = plain(installed[f"{world.tree.stack}-oregon-a-install"]["stdout"]).splitlines()
    assert set(wrote) == {f"changed {CODE}/member.sh", "changed /etc/bird/bird.conf", "removed /etc/bird/links/x.conf"}
    assert not any("environment" in outputs for outputs in installed.values()), "marks are gone with the drift"
    history = json.loads(world.tree.pulumi("stack", "history", "--json", "--page-size", "1").stdout)
    bundles = {(one["machine"], one["bundle"]) for one in found.values()}
    assert history[0]["resourceChanges"]["update"] <= len(bundles) + 2, (bundles, history)
    again = world.tree.up()
    assert "Nothing changed." in again.stdout, again.stdout[-3000:]


def test_plain_pulumi_shows_and_does_what_a_state_that_knows_of_drift_asks_for(world):
    world.run("web-2", "echo '# mine' >>/etc/vcubev/path.conf")
    _, told, _ = drift(world, "web-2")
    assert [(one["machine"], one["what"]) for one in told["drift"]] == [("web-2", "/etc/vcubev/path.conf")]
    assert world.tree.preview() == {}, "a look changes nothing"
    name = f"{world.tree.stack}-web-2-install"
    state = json.loads(world.tree.pulumi("stack", "export").stdout)
    urn = next(r["urn"] for r in state["deployment"]["resources"] if r["urn"].endswith(f"::{name}"))
    noted = marked(state, [Deviation("web-2", "host", urn, "file", "/etc/vcubev/path.conf", ("changed",))])
    file = world.tree.tree / "noted.json"
    file.write_text(json.dumps(noted))
    done = world.tree.pulumi("stack", "import", "--file", str(file))
    assert done.returncode == 0, done.stderr
    assert world.tree.preview() == {"update": {name}}
    done = world.tree.pulumi("up", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stderr
    assert drift(world, "web-2")[0] == 0 and world.tree.preview() == {}


def plain(value):
    return json.loads(value["plaintext"]) if isinstance(value, dict) else value
