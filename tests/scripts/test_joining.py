"""`vcubev join-bundle`: what is in the file, who may read it, and when there is none. The lab tests that it joins."""

import functools
import json
import re
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from components.model import tlscrypt
from components.model.errors import StackErrors
from components.model.stackfile import load
from scripts.cli import __main__ as cli
from scripts.cli import stack as stacks
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.state import SIGNATURE
from tests.components.declared import declare, lab_values

END = datetime(2027, 3, 1, tzinfo=UTC)


def values(**host):
    found = lab_values()
    found["sites"]["paris"]["hosts"]["laptop-1"] = {"role": "web", "id": 9, "unmanaged": True, **host}
    return found


def pem(key):
    forms = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*forms).decode()


def certificate(key, name):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 7, END - timedelta(days=365), END)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


KEYS = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "channel", "laptop-1", "web-1")}
CA, HOST = "vcubev:index:Mesh$vcubev:index:Authority$", "vcubev:index:Mesh$vcubev:index:Unmanaged$"


def resource(parents, kind, name, **outputs):
    kind = f"tls:index/{kind}:{kind[0].upper()}{kind[1:]}"
    return {"urn": f"urn:pulumi:lab::vcubev::{parents}{kind}::lab-{name}", "type": kind, "outputs": outputs}


def secret(text):
    return {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(text)}


@functools.cache  # each signature is another
def exported():
    # A host may be called as the authority is.
    hosts = [
        part
        for name in ("laptop-1", "web-1", "ca")
        for part in (
            resource(HOST, "privateKey", f"{name}-key", privateKeyPem=secret(pem(KEYS[name]))),
            resource(HOST, "locallySignedCert", f"{name}-cert", certPem=certificate(KEYS[name], name)),
        )
    ]
    authority = [
        resource(CA, "selfSignedCert", "ca-cert", certPem=certificate(KEYS["ca"], "the authority")),
        resource(CA, "privateKey", "ca-channel", privateKeyPem=secret(pem(KEYS["channel"]))),
    ]
    return json.dumps({"deployment": {"resources": [*authority, *hosts, {"urn": "x::y", "type": "pulumi:x"}]}})


@pytest.fixture
def typed(monkeypatch, tmp_path):
    hubs = {
        name: Member(name, name.split("/")[0], "", "", Access(f"203.0.113.{at}", "", "")) for at, name in HUBS.items()
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stacks.Stack, "topology", lambda self: load(values(), {"lab"}))
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)
    monkeypatch.setattr(stacks.Stack, "outputs", lambda self: {"hubs": {}})
    monkeypatch.setattr(stacks.Stack, "answer", lambda self, *command: exported())
    monkeypatch.setattr(Inventory, "of", classmethod(lambda cls, outputs: Inventory(hubs, {}, "vcubev", "")))
    return lambda *arguments: CliRunner().invoke(cli.app, ["join-bundle", *arguments])


HUBS = {1: "oregon/a", 2: "paris/a"}


def inline(text, name):
    return re.search(rf"<{name}>\n(.*?)\n</{name}>", text, re.DOTALL)[1]


def test_the_file_holds_this_host_s_own_certificate_and_keys_and_is_its_owner_s_alone(typed, tmp_path):
    told = typed("laptop-1", "--json")
    data = json.loads(told.stdout)
    assert (data["file"], data["ipv4"], data["valid_until"][:10]) == ("laptop-1.ovpn", "10.100.1.9", "2027-03-01")
    file = tmp_path / "laptop-1.ovpn"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert inline(text, "key") == pem(KEYS["laptop-1"]).strip()
    assert inline(text, "cert") == certificate_of("laptop-1-cert") and inline(text, "ca") == certificate_of("ca-cert")
    wanted = tlscrypt.v2_client_key(pem(KEYS["channel"]), pem(KEYS["laptop-1"]))
    assert inline(text, "tls-crypt-v2") == wanted.strip()


def certificate_of(name):
    found = [r for r in json.loads(exported())["deployment"]["resources"] if r["urn"].endswith(f"::lab-{name}")]
    return found[0]["outputs"]["certPem"].strip()


def test_it_names_all_hubs_its_own_site_s_first_udp_before_tcp(typed, tmp_path):
    typed("laptop-1")
    remotes = re.findall(r"^remote (.*)$", (tmp_path / "laptop-1.ovpn").read_text(), re.MULTILINE)
    assert remotes == ["203.0.113.2 1194 udp", "203.0.113.1 1194 udp", "203.0.113.2 443 tcp", "203.0.113.1 443 tcp"]


def test_nothing_is_written_over_another_file(typed, tmp_path):
    (tmp_path / "laptop-1.ovpn").write_text("mine")
    assert typed("laptop-1").exit_code == 2 and (tmp_path / "laptop-1.ovpn").read_text() == "mine"


def test_the_identity_of_a_machine_that_runs_is_not_given_to_a_second_one_by_mistake(typed, tmp_path):
    told = typed("web-1")
    assert told.exit_code == 2 and "draw its traffic" in told.stderr and not (tmp_path / "web-1.ovpn").exists()
    assert typed("web-1", "--instead").exit_code == 0


def test_a_host_that_is_not_there_or_not_up_yet_is_told(typed, monkeypatch, tmp_path):
    assert typed("laptop-2").exit_code == 2
    monkeypatch.setattr(stacks.Stack, "answer", lambda self, *command: '{"deployment": {"resources": []}}')
    assert typed("laptop-1").exit_code == 1 and not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("openvpn"), reason="openvpn is not installed")
def test_openvpn_takes_the_file(typed, tmp_path):
    typed("laptop-1")
    command = ["openvpn", "--config", "laptop-1.ovpn", "--show-digests"]  # reads the file, and ends
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Options error" not in done.stdout, done.stdout


def test_such_a_host_is_an_identity_and_touches_nothing_that_is_there():
    lab, more = declare(lab_values()), declare(values())
    added = {name for kind, name in more.made if (kind, name) not in lab.made}
    assert added == {"m-laptop-1", "m-laptop-1-key", "m-laptop-1-request", "m-laptop-1-cert"}
    assert all(more.made[key].inputs == args.inputs for key, args in lab.made.items())


@pytest.mark.parametrize("key, value", [("private", True), ("zone", 0), ("machine", {"address": "192.0.2.1"})])
def test_what_is_for_machines_is_refused_for_it(key, value):
    if key == "machine":
        value = {**value, "user": "admin", "host_key": "ssh-ed25519 AAAA"}
    with pytest.raises(StackErrors, match=rf"laptop-1.{key}:.*joins by a file"):
        load(values(**{key: value}), {"lab"})
