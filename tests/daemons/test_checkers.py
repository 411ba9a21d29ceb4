"""The daemons' own checkers on every rendered file."""

import os
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from components.model import tlscrypt
from components.model.crl import revocation_list
from tests.agents.loading import load
from tests.rendering import MACHINES, ROOT, TOPOLOGY, brought_scripts, first_contact, gateway_filter, leaf_links

HOOKS = ROOT / "components" / "templates" / "hooks"
os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps daemons, out of a plain user's PATH
HUBS = [hub.key for hub in TOPOLOGY.hubs]
means, paths, HUB = (
    load("means"),
    load("paths"),
    load("tunnels").Hub(1, "oregon", "a", "10.100.0.1", "203.0.113.1", 1194, 443),
)


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def alone(*command, **options):
    """Run a command in a user and a network namespace of its own: no root needed, nothing of this computer touched."""
    own = ["unshare", "--user", "--map-root-user", "--net", *map(str, command)]
    return subprocess.run(own, capture_output=True, text=True, timeout=30, **options)


def put(machine, target, replaced=()):
    """Write a machine's files below a directory, paths inside them turned to it."""
    for path, spec in MACHINES[machine].items():
        file = Path(f"{target}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        content = spec.content
        for old in replaced:
            content = content.replace(old, f"{target}{old}")
        file.write_text(content)
        file.chmod(int(spec.mode, 8))
    return target


@needs("bird")
@pytest.mark.parametrize("hub", HUBS)
def test_bird_takes_a_hubs_routing_with_its_links(hub, tmp_path):
    put(hub, tmp_path, ["/etc/bird/links"])
    done = alone("bird", "-p", "-c", tmp_path / "etc/bird/bird.conf")
    assert done.returncode == 0, done.stderr


@needs("bird")
@pytest.mark.parametrize("hub", HUBS)
def test_bird_takes_a_hub_that_has_no_link_yet(hub, tmp_path):
    put(hub, tmp_path, ["/etc/bird/links"])
    for link in (tmp_path / "etc/bird/links").iterdir():
        link.unlink()
    done = alone("bird", "-p", "-c", tmp_path / "etc/bird/bird.conf")
    assert done.returncode == 0, done.stderr


@needs("bird")
@pytest.mark.parametrize("hub", ["h4", "h1"])
def test_bird_takes_the_routing_of_a_hub_that_leans_on_others_and_of_one_that_others_lean_on(hub, tmp_path):
    put(HUBS[0], tmp_path, ["/etc/bird/links"])
    for ends, files in leaf_links().items():
        for path, spec in files.items():
            if ends.startswith(hub) and path.startswith("/etc/bird/"):
                Path(f"{tmp_path}{path}").write_text(spec.content)
    done = alone("bird", "-p", "-c", tmp_path / "etc/bird/bird.conf")
    assert done.returncode == 0, done.stderr


@needs("nft")
@pytest.mark.parametrize("machine", [name for name in sorted(MACHINES) if "/etc/nftables.conf" in MACHINES[name]])
def test_nft_takes_every_packet_filter(machine, tmp_path):
    put(machine, tmp_path, ["/etc/vcubev/services", "/etc/vcubev/doors"])
    rules = ["-f", tmp_path / "etc/nftables.conf"]
    done = alone("sh", "-c", 'nft "$@" && nft list table inet vcubev', "sh", *rules)
    assert done.returncode == 0, done.stderr
    services = {path.stem for path in (tmp_path / "etc/vcubev/services").glob("*.nft")}
    assert all(f'"service {name}"' in done.stdout for name in services), "a file beside the main one is not loaded"
    assert ('comment "metrics"' in done.stdout) is machine.startswith("metrics:")


@needs("nft")
@pytest.mark.parametrize("machine", [name for name in sorted(MACHINES) if "/etc/vcubev/direct.nft" in MACHINES[name]])
def test_nft_takes_the_table_of_direct_tunnels_and_what_the_agent_asks_of_it(machine, tmp_path):
    put(machine, tmp_path)
    words = (tmp_path / "etc/vcubev/direct.nft", "add element inet vcubev_direct peers4 { direct1 . 10.100.1.2 }")
    done = alone("sh", "-c", 'nft -f "$1" && nft "$2" && nft -j list set inet vcubev_direct talk6', "sh", *words)
    assert done.returncode == 0 and '"set"' in done.stdout, done.stderr


@needs("nft")
def test_nft_takes_the_packet_filter_of_a_gateway(tmp_path):
    (tmp_path / "nftables.conf").write_text(gateway_filter())
    done = alone("nft", "-c", "-f", tmp_path / "nftables.conf")
    assert done.returncode == 0, done.stderr


@needs("shellcheck")
@pytest.mark.parametrize(
    ("script", "begin", "end"), [("prepare", "<<'ROOT'\n", "\nROOT\n"), ("leave", "-c '\n", "\n'\n")]
)
def test_shellcheck_passes_what_runs_on_a_machine_of_the_users_own(script, begin, end, tmp_path):
    whole = brought_scripts()[script]
    # To the shell around it, what root runs is but a quoted text.
    as_root, found, _ = whole.partition(begin)[2].partition(end)
    assert found
    for part in (whole, as_root):
        (tmp_path / "script").write_text(part)
        done = subprocess.run(
            ["shellcheck", "-s", "sh", "-S", "warning", tmp_path / "script"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
    assert script == "prepare" or "'" not in as_root, "it would end the quoted text"


@needs("shellcheck")
def test_shellcheck_passes_the_first_contact_with_a_machine(tmp_path):
    (tmp_path / "script").write_text(first_contact())
    done = subprocess.run(["shellcheck", "-s", "sh", tmp_path / "script"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs("systemd-analyze")
@pytest.mark.parametrize("machine", [name for name in sorted(MACHINES) if not name.startswith("services:")])
def test_systemd_takes_every_unit(machine, tmp_path):
    put(machine, tmp_path)
    units = [path for path in (tmp_path / "etc/systemd/system").iterdir() if path.suffix in (".service", ".socket")]
    # Instances of a template are what runs.
    names = [str(unit).replace("@.", "@2.") for unit in units]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "vcubev" in line and "not executable" not in line]
    # The programs and units of the machine itself are not on this computer.
    wrong = [line for line in ours if "No such file" not in line and "not found" not in line]
    assert not wrong, "\n".join(wrong)


@needs("systemd-analyze")
@pytest.mark.parametrize("machine", [name for name in sorted(MACHINES) if not name.startswith("services:")])
def test_at_a_boot_systemd_leaves_no_unit_out_for_the_order_of_others(machine, tmp_path):
    put(machine, tmp_path)
    units = tmp_path / "etc/systemd/system"
    names = [
        file.name.replace("@.", "@2.")
        for file in units.glob("vcubev-*.*")
        if file.is_file() and "\n[Install]\n" in file.read_text()
    ]
    subprocess.run(["systemctl", f"--root={tmp_path}", "enable", *names], capture_output=True, check=True)
    # This computer's own targets, with the machine's units in them. The cycle that is found is another each time.
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    command = ["systemd-analyze", "verify", "--man=no", "graphical.target"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "ordering cycle" not in done.stderr, done.stderr


@needs("shellcheck")
@pytest.mark.parametrize("hook", sorted({path.name for path in HOOKS.iterdir() if path.suffix != ".j2"}))
def test_shellcheck_passes_every_hook(hook):
    done = subprocess.run(["shellcheck", "-x", "-P", ROOT, HOOKS / hook], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs("shellcheck")
def test_shellcheck_passes_every_script():
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and path.suffix != ".txt"] + [
        ROOT / ".ci" / "run"
    ]
    done = subprocess.run(["shellcheck", "-x", "-P", ROOT / "scripts", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


DNS = "/etc/vcubev/dns.conf"


@needs("dnsmasq")
@pytest.mark.parametrize("machine", [name for name, files in sorted(MACHINES.items()) if DNS in files])
def test_dnsmasq_takes_every_configuration(machine, tmp_path):
    (tmp_path / "dns.conf").write_text(MACHINES[machine][DNS].content)
    done = subprocess.run(
        ["dnsmasq", "--test", f"--conf-file={tmp_path}/dns.conf"], capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 0 and "syntax check OK" in done.stderr, done.stderr


OPENVPN_FILES = [
    (machine, path)
    for machine, files in sorted(MACHINES.items())
    for path in files
    if path.startswith("/etc/vcubev/") and path.endswith(".conf") and path != DNS
]


@needs("openvpn")
@needs("openssl")
@pytest.mark.parametrize("machine, path", OPENVPN_FILES, ids=[f"{m}:{p}" for m, p in OPENVPN_FILES])
def test_openvpn_takes_every_configuration_with_real_keys(machine, path, tmp_path):
    """OpenVPN has no check of its own, so it starts: in a namespace with no network, on a device that is none."""
    put(machine, tmp_path, ["/etc/vcubev/pki", "/usr/local/lib/vcubev", "/run/"])
    for door in TOPOLOGY.hubs[0].doors:
        (tmp_path / f"run/vcubev-hosts-{door.name}").mkdir(parents=True)
    pki = tmp_path / "etc/vcubev/pki"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-keyout", pki / "key.pem", "-out", pki / "ca.pem", "-subj", "/CN=test"],
        check=True,
        capture_output=True,
    )
    shutil.copy(pki / "ca.pem", pki / "certificate.pem")
    (tmp_path / "run/vcubev-crl").mkdir()
    signed = revocation_list((pki / "ca.pem").read_text(), (pki / "key.pem").read_text(), (), 0)
    (tmp_path / "run/vcubev-crl/crl.pem").write_text(signed)
    hub = machine in HUBS
    v2_key = tlscrypt.v2_server_key("secret") if hub else tlscrypt.v2_client_key("secret", "own")
    (pki / "tls-crypt-v2.key").write_text(v2_key)
    (pki / "link.key").write_text(tlscrypt.static_key("secret", "links"))
    (pki / "tls-crypt-v2.key").chmod(0o600)
    (pki / "link.key").chmod(0o600)
    channel = (
        ["--tls-crypt", pki / "link.key"]
        if "/links/" in path or path.endswith("direct.conf")
        else ["--tls-crypt-v2", pki / "tls-crypt-v2.key", *(["force-cookie"] if hub else [])]
    )
    config = Path(f"{tmp_path}{path}")
    # A device would need /dev/net/tun and the right to it; all else is as on the machine.
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("dev")))
    device = ["--dev", "null"] if "mode server" not in config.read_text() else ["--dev", "tun"]
    if path.endswith("path.conf"):
        # What the host's agent adds in a file of its own.
        (tmp_path / "1.conf").write_text("\n".join(paths.tunnel_lines(1, HUB, "udp")[1:]) + "\n")
        device += ["--config", tmp_path / "1.conf"]
    if path.endswith("direct.conf"):
        told = "\n".join(means.options(1, IPv4Address("10.100.1.2"), False, "127.0.0.1", 20_300)[1:]) + "\n"
        (tmp_path / "1.conf").write_text(
            told.replace(means.PKI, str(pki)).replace(means.VERIFIED, f"{tmp_path}{means.VERIFIED}")
        )
        device += ["--config", tmp_path / "1.conf"]
    run = ["timeout", "1", "openvpn", "--config", config, *device, "--key", pki / "key.pem", *channel]
    done = alone("sh", "-c", 'ip link set lo up; exec "$@"', "sh", *run)
    assert "Options error" not in done.stdout, done.stdout
    assert ("OpenVPN 2" in done.stdout and "link local" in done.stdout) or "Cannot open TUN" in done.stdout, done.stdout
