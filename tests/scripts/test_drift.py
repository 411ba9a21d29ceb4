"""What `vcubev drift` makes of machines; the lab tests it on real ones."""

import base64
import hashlib
import json
import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from components.model.bundle import pack
from components.model.files import TEMPLATES, FileSpec
from scripts.cli import __main__ as cli
from scripts.cli import drift, drift_command
from scripts.cli import stack as stacks
from scripts.cli.drift import MARK, Deviation, Seen, difference_of, expected, judged, marked, printable, secret
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.probing import RUN_MODULES
from scripts.cli.state import SIGNATURE, Installation, installations, resources
from tests.agents.loading import load

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFakeFakeFake\n-----END EC PRIVATE KEY-----\n"
os.environ["PATH"] += ":/usr/sbin:/sbin"
needs_nft = pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")


def compared(expectation, before="true"):
    """Run the comparison as machines do: as root of namespaces of its own, with no network, another /run and /etc."""
    modules = [(name, (TEMPLATES / "machine" / f"{name}.py").read_text()) for name in ("actual", "compare")]
    whole = {
        "files": {}, "bundles": {}, "units": [], "packages": [], "settings": "", "filter": {}, **expectation
    }  # fmt: skip
    script = (
        f"mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc && {before} && {RUN_MODULES.removeprefix('sudo -n ')}"
    )
    own = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", script]
    question = json.dumps({"modules": modules, "question": whole})
    done = subprocess.run(own, input=question, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return {(one["what"]): one for one in json.loads(done.stdout)}, done.stdout


def spec(content, mode="0644"):
    shown = not secret({"content": content, "mode": mode})
    return {"sha256": hashlib.sha256(content.encode()).hexdigest(), "mode": mode, "shown": shown}


def test_a_machine_tells_what_is_wrong_with_files_and_nothing_of_keys(tmp_path):
    contents = {"same": "a\n", "changed": "b\n", "wide": "c\n", "linked": "d\n", "stolen": "e\n", "secret": KEY}
    files = {name: str(tmp_path / name) for name in (*contents, "gone")}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600 if name == "secret" else 0o644)
    wanted = {files[name]: spec(content) for name, content in contents.items()}
    wanted |= {files["gone"]: spec("x"), files["secret"]: spec(KEY, "0600"), files["stolen"]: spec("e\n")}
    (tmp_path / "changed").write_text("other\n")
    (tmp_path / "wide").chmod(0o666)
    (tmp_path / "linked").unlink()
    (tmp_path / "linked").symlink_to("/etc/shadow")
    # Somebody puts a key where none was, and changes one where it was.
    (tmp_path / "stolen").write_text(KEY)
    (tmp_path / "secret").write_text(KEY.replace("Fake", "Faked"))
    (tmp_path / "secret").chmod(0o644)
    found, printed_text = compared({"files": wanted})
    faults = {name: found[path]["faults"] for name, path in files.items() if path in found}
    assert faults == {
        "changed": ["changed"],
        "wide": ["mode 0666 instead of 0644"],
        "linked": ["a symbolic link to /etc/shadow"],
        "gone": ["missing"],
        "stolen": ["changed"],
        "secret": ["changed", "mode 0644 instead of 0600"],
    }
    assert base64.b64decode(found[files["changed"]]["content"]) == b"other\n"
    assert found[files["stolen"]]["content"] is None and found[files["secret"]]["content"] is None
    for text in (KEY, KEY.replace("Fake", "Faked")):
        assert base64.b64encode(text.encode()).decode()[:40] not in printed_text
        assert text.split("\n")[1] not in printed_text


RULES = """table inet vcubev
delete table inet vcubev
table inet vcubev {
  set seen { type ipv4_addr; size 100; flags dynamic; timeout 1m; }
  chain input {
    type filter hook input priority filter; policy accept;
    update @seen { ip saddr limit rate over 50/second } counter drop comment "too many"
    include "/etc/vcubev/services/*.nft"
  }
}
"""


@needs_nft
@pytest.mark.parametrize(
    ("then", "faults"),
    [
        ("true", None),
        ("nft add element inet vcubev seen '{ 192.0.2.1 limit rate over 50/second }'", None),
        ("nft add rule inet vcubev input tcp dport 99 accept", ["differs in the kernel"]),
        ("nft flush chain inet vcubev input", ["differs in the kernel"]),
        ("nft delete table inet vcubev", ["is not in the kernel"]),
    ],
)
def test_the_rules_in_the_kernel_are_compared_with_those_of_the_files(tmp_path, then, faults):
    service = "tcp dport 80 accept\n"
    written = tmp_path / "rules.nft"
    written.write_text(RULES.replace('include "/etc/vcubev/services/*.nft"', service))
    files = {"/etc/nftables.conf": RULES, "/etc/vcubev/services/web.nft": service}
    found, _ = compared({"filter": files}, f"nft -f {written} && {then}")
    assert found.get("inet vcubev", {}).get("faults") == faults


def test_a_drop_in_reaches_units_by_name_template_instance_and_dashes():
    concerns = load("compare", "machine").concerns
    known = {"vcubev-hosts@udp.service", "vcubev-path@.service", "bird.service"}
    for unit in ("bird.service", "vcubev-hosts@.service", "vcubev-hosts@udp.service", "vcubev-path@1.service"):
        assert concerns(unit, known), unit
    assert concerns("vcubev-.service", known)
    for unit in ("ssh.service", "vcubev-hosts@tcp.service", "getty@.service", "other-.service"):
        assert not concerns(unit, known), unit


HUB = Installation(
    "urn::hub",
    "oregon/a",
    "hub",
    {
        "/etc/systemd/system/vcubev-hosts@.service": {
            "content": "[Service]\n",
            "mode": "0644",
            "on_change": ["restart vcubev-hosts@*.service"],
        },
        "/etc/nftables.conf": {"content": "table\n", "mode": "0644", "on_change": ["reload nftables.service"]},
        "/etc/vcubev/pki/key.pem": {"content": KEY, "mode": "0600", "on_change": []},
    },
    ("bird.service", "vcubev-hosts@udp.service"),
    ("bird2",),
)
PART = {"/etc/bird/links/2.conf": HUB.files["/etc/nftables.conf"]}
LINK = Installation("urn::link", "oregon/a", "link-2", PART, (), ())


def test_each_finding_is_its_own_bundles_and_says_what_must_follow():
    answer = [
        {"kind": "file", "what": "/etc/bird/links/2.conf", "faults": ["missing"], "content": None},
        {"kind": "unit", "what": "bird.service", "faults": ["stopped"]},
        {"kind": "record", "what": "/x/link-2.json", "faults": ["missing"], "bundle": "link-2"},
        {"kind": "package", "what": "bird2", "faults": ["not installed"]},
        {"kind": "foreign file", "what": "/etc/bird/links/9.conf", "faults": ["not"], "content": None},
        {"kind": "foreign drop-in", "what": "/e/x.conf", "faults": ["not"], "unit": "vcubev-hosts@udp.service"},
        {"kind": "foreign unit", "what": "/etc/systemd/system/bird.service", "faults": [""], "unit": "bird.service"},
    ]
    found = {one.what: one for one in judged("oregon/a", [HUB, LINK], answer)}
    owners = {what: one.bundle for what, one in found.items()}
    assert owners["/etc/bird/links/2.conf"] == owners["/x/link-2.json"] == "link-2"
    assert {owners[what] for what in ("bird.service", "bird2", "/etc/bird/links/9.conf", "/e/x.conf")} == {"hub"}
    assert found["/etc/bird/links/9.conf"].actions == ("reload bird.service",)
    assert found["/e/x.conf"].actions == ("restart vcubev-hosts@*.service",), "the template's own"
    assert found["/etc/systemd/system/bird.service"].actions == ("restart bird.service",)
    assert not found["/etc/bird/links/2.conf"].actions, "only for what is taken away"


def test_what_is_asked_of_a_machine_holds_no_key():
    asked = expected([HUB, LINK])
    assert KEY.split("\n")[1] not in json.dumps(asked)
    assert asked["files"]["/etc/vcubev/pki/key.pem"]["shown"] is False
    assert asked["filter"] == {"/etc/nftables.conf": "table\n"}
    assert asked["packages"] == ["bird2"] and "vcubev-hosts@udp.service" in asked["units"]


@given(st.text())
def test_what_a_machine_says_cannot_command_a_terminal(text):
    shown = printable(text)
    assert all(ord(sign) >= 0x20 or sign in "\n\t" for sign in shown) and "\x7f" not in shown
    assert not any(0x80 <= ord(sign) < 0xA0 for sign in shown)


LINES = st.lists(st.sampled_from("abc")).map("\n".join)


@given(LINES, LINES)
def test_a_difference_is_told_where_there_is_one(wanted, found):
    assert bool(difference_of(wanted, found)) == (wanted.splitlines() != found.splitlines())


URNS = st.sampled_from([f"urn::{n}" for n in range(6)])


@given(st.lists(URNS, unique=True), st.sets(URNS), st.text(max_size=600))
def test_the_state_is_marked_where_there_is_drift_and_nowhere_else(there, drifted, text):
    state = {"version": 3, "deployment": {"resources": [
        {"urn": urn, "type": "t", "inputs": {"stdin": {SIGNATURE: "x", "ciphertext": "v1:abc"}}, "outputs": {"o": 1}}
        for urn in there
    ]}}  # fmt: skip
    before = json.dumps(state)
    deviations = [Deviation("m", "b", urn, "file", text, ("changed",)) for urn in drifted]
    after = marked(state, deviations)
    assert json.dumps(state) == before, "the state that was read stays as it was"
    for resource, old in zip(resources(after), resources(state), strict=True):
        touched = resource["urn"] in drifted
        assert touched == (MARK in resource["inputs"].get("environment", {})) == (resource != old)
        resource["inputs"].pop("environment", None), resource["outputs"].pop("environment", None)
        assert resource == old, "only the mark is new"


def member(name):
    return Member(name, "oregon", "10.100.0.1", "fd::1", Access("192.0.2.1", f"ssh-ed25519 {name}", ""))


INVENTORY = Inventory({"oregon/a": member("oregon/a")}, {}, "vcubev", "")


def sealed(value):
    return {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(value)}


def command(urn, host_key, **more):
    bundle = pack("hub", {"/etc/x": FileSpec("x\n")}, ("bird.service",), True, ("bird2",))
    connection = {"host": "192.0.2.1", "hostKey": host_key}
    inputs = {"stdin": sealed(bundle), "connection": sealed(connection)}
    return {"urn": urn, "type": "command:remote:Command", "inputs": inputs, **more}


def test_a_machine_is_known_by_its_host_key_and_what_is_about_to_go_counts_for_nothing():
    state = {"deployment": {"resources": [
        command("urn::1", "ssh-ed25519 oregon/a"), command("urn::2", "ssh-ed25519 other"),
        command("urn::3", "ssh-ed25519 oregon/a", delete=True), {"urn": "urn::4", "type": "x"},
    ]}}  # fmt: skip
    (found,) = installations(state, INVENTORY)
    assert (found.urn, found.machine, found.name) == ("urn::1", "oregon/a", "hub")
    assert found.units == ("bird.service",) and found.packages == ("bird2",) and set(found.files) == {"/etc/x"}


@pytest.fixture
def typed(monkeypatch):
    ssh = {"address": "192.0.2.1", "host_key": "", "gateway": ""}
    hubs = {"oregon/a": {"site": "oregon", "ipv4": "", "ipv6": "", "ssh": ssh}}
    outputs = {"hubs": hubs, "hosts": {}, "login": {"user": "vcubev", "private_key": ""}}
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)
    monkeypatch.setattr(stacks.Stack, "outputs", lambda self: outputs)
    monkeypatch.setattr(stacks.Stack, "answer", lambda self, *command: "{}")

    def run(seen, *arguments):
        async def look(*_):
            return seen

        monkeypatch.setattr(drift, "look", look)
        return CliRunner().invoke(cli.app, ["drift", "lab", *arguments])

    return run


DRIFTED = Deviation("oregon/a", "hub", "urn::1", "unit", "bird.service", ("stopped",))


def test_the_exit_code_says_whether_there_is_drift_or_somebody_who_cannot_be_seen(typed, monkeypatch):
    assert typed(Seen(compared=1)).exit_code == 0
    drifted = typed(Seen([DRIFTED], compared=1), "--json")
    assert drifted.exit_code == 3 and json.loads(drifted.stdout)["drift"][0]["what"] == "bird.service"
    unseen = typed(Seen(unseen={"web-1": "SSH: no route"}))
    assert unseen.exit_code == 3 and "web-1 cannot be seen" in unseen.stdout
    assert typed(Seen(), "nobody").exit_code == 2
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: False)
    assert typed(Seen()).exit_code == 1


def test_without_repair_nothing_is_changed_and_without_drift_no_up_is_run(typed, monkeypatch):
    def never(*_):
        raise AssertionError("something was changed")

    monkeypatch.setattr(drift_command, "_repair", never)
    assert typed(Seen([DRIFTED], compared=1)).exit_code == 3
    assert typed(Seen(compared=1), "--repair").exit_code == 0


def test_what_daemons_would_take_in_beside_the_stacks_files_is_seen():
    before = "mkdir -p /etc/bird/links /etc/vcubev/before /etc/systemd/system/bird.service.d && "
    before += "touch /etc/bird/links/9.conf /etc/vcubev/before/nftables.conf /etc/systemd/system/bird.service.d/x.conf"
    found, _ = compared({"files": {"/etc/systemd/system/bird.service": spec("x")}}, before)
    kinds = {path: one["kind"] for path, one in found.items()}
    drop_in = "/etc/systemd/system/bird.service.d/x.conf"
    assert (kinds["/etc/bird/links/9.conf"], kinds[drop_in]) == ("foreign file", "foreign drop-in")
    assert "/etc/vcubev/before/nftables.conf" not in found, "it is how the user's machine was"
    assert drop_in not in compared({}, before)[0], "a unit that the stack has nothing to do with is none of ours"


def test_a_kernel_setting_of_two_numbers_is_as_it_should_be_though_the_kernel_parts_them_by_a_tab():
    name, before = "net.ipv4.ip_local_port_range", "echo 20000 30000 > /proc/sys/net/ipv4/ip_local_port_range"
    assert compared({"settings": f"{name} = 20000 30000\n"}, before)[1] == "[]\n"
    _, told = compared({"settings": f"{name} = 20000 30001\n"}, before)
    assert "20000 30000 instead of 20000 30001" in told
