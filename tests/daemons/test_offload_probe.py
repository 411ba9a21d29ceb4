"""Whether a kernel could move OpenVPN's packets: the probe on kernels that can and on this one."""

import json
import os
import subprocess

import pytest

from tests.rendering import ROOT

PROBE = ROOT / "components" / "templates" / "hooks" / "probe-offload"
IP = """#!/bin/sh
echo "$@" >>"$LOG"
[ "$2" = add ] || exit 0
case " $KINDS " in *" $5 "*) ;; *) echo "Error: Unknown device type." >&2; exit 2 ;; esac
"""
OPENVPN = "#!/bin/sh\nprintf 'OpenVPN 2.6.14 x86_64 [AEAD]%s\\nlibrary versions\\n' \"$BUILT\"\nexit 1\n"


def probe(tmp_path, kinds, built):
    for name, text in (("ip", IP), ("openvpn", OPENVPN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "probe"
    script.write_text(PROBE.read_text().replace("/usr/sbin/openvpn", str(tmp_path / "openvpn")))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KINDS": kinds, "BUILT": built, "LOG": str(tmp_path / "log")}
    subprocess.run(["sh", script, tmp_path / "found.json"], env=environment, check=True, timeout=10)
    return json.loads((tmp_path / "found.json").read_text()), (tmp_path / "log").read_text().splitlines()


@pytest.mark.parametrize("kinds, kernel", [("ovpn-dco", "ovpn-dco"), ("ovpn", "ovpn"), ("", ""), ("wireguard", "")])
@pytest.mark.parametrize("built", [" [DCO]", ""])
def test_what_is_there_is_told_and_no_device_is_left(tmp_path, kinds, kernel, built):
    found, asked = probe(tmp_path, kinds, built)
    assert found == {"kernel": kernel, "openvpn": bool(built)}
    assert not kernel or asked[-1] == "link del vcubev-trial"


def test_this_kernel_is_told_as_it_is(tmp_path):
    os.environ["PATH"] += ":/usr/sbin"
    script = f"""sh {PROBE} {tmp_path}/found.json && ip -o link show | grep -c vcubev-trial || :
for kind in ovpn-dco ovpn; do ip link add other type $kind 2>/dev/null && echo $kind && break; done || :"""
    run = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    left, *kinds = subprocess.run(run, capture_output=True, text=True, timeout=20).stdout.split()
    assert left == "0"
    assert json.loads((tmp_path / "found.json").read_text())["kernel"] == (kinds[0] if kinds else "")
