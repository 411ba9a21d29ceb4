"""Whatever stands in a certificate or in OpenVPN's mouth, a hook gives out a member's own address or nothing."""

import os
import subprocess
from ipaddress import AddressValueError, IPv4Address

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.model import render
from components.model.addressing import (
    MEMBER_IDS,
    member_ipv4,
    member_ipv6,
    role_ids,
    role_prefix_ipv4,
    role_prefix_ipv6,
)
from components.model.topology import Overlay
from tests.daemons.test_hooks import HOOKS, HUB, OVERLAY, hooks, routes, run
from tests.model.strategies import overlays

assert hooks and routes  # fixtures, used by name
# What an environment can hold: no NUL, and bytes that are no UTF-8 as well.
ENVIRONMENT = st.binary(max_size=80).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
PRINTABLE = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60)
DOTTED = st.lists(st.integers(-1, 2**33).map(str), min_size=3, max_size=5).map(".".join)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def almost(draw, overlay):
    """A member's address with one character more, less or other; rarely none."""
    role = draw(st.sampled_from(role_ids(overlay)))
    right = str(member_ipv4(role_prefix_ipv4(overlay, role), draw(st.sampled_from(MEMBER_IDS))))
    place = draw(st.integers(0, len(right)))
    put = draw(st.sampled_from(["", *"0123456789. \t\n;$`*?[]/\\'\"\u0661\u00a0-+x,"]))
    return right[:place] + put + right[place + draw(st.integers(0, 2)) :]


def right_addresses(overlay, text):
    """Return the two addresses of the member whose IPv4 address a text is, exactly as it is written."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return None
    if str(address) != text or address not in overlay.ipv4:
        return None
    role, member = divmod(int(address) - int(overlay.ipv4.network_address), 256)
    if role not in role_ids(overlay.ipv4) or member not in MEMBER_IDS:
        return None
    return f"{address} {member_ipv6(role_prefix_ipv6(overlay.ipv6, role), member)}"


@given(st.data())
@MANY
def test_the_parser_takes_a_members_address_and_nothing_else(tmp_path, data):
    overlay = Overlay(*data.draw(overlays()))
    text = data.draw(st.one_of(almost(overlay.ipv4), DOTTED, ENVIRONMENT, PRINTABLE))
    plan = render.hub_files(HUB, overlay, "203.0.113.1")["/etc/vcubev/overlay.env"].content
    (tmp_path / "overlay.env").write_text(plan)
    parser = (HOOKS / "member.sh").read_text().replace("/etc/vcubev", str(tmp_path))
    script = f'{parser}\nprintf "%s %s" "$ipv4" "$ipv6"'
    environment = {"PATH": "/usr/bin:/bin", "X509_0_serialNumber": text, "common_name": "host.web-1"}
    done = subprocess.run(["dash", "-eu", "-c", script], env=environment, capture_output=True, cwd=tmp_path, timeout=10)
    expected = right_addresses(overlay, text)
    assert (done.returncode == 0) is (expected is not None), (text, done.stderr)
    assert done.stdout.decode() == (expected or "")
    assert {file.name for file in tmp_path.iterdir()} == {"overlay.env"}, "the text was taken for a command"


@given(serial=st.one_of(almost(OVERLAY.ipv4), ENVIRONMENT, PRINTABLE), name=st.one_of(ENVIRONMENT, PRINTABLE))
@example(serial="10.100.1.1", name="host.web-1\nifconfig-push 10.100.1.2 255.255.0.0")
@example(serial="10.100.1.1", name="../../etc/passwd")
@MANY
def test_client_connect_answers_with_that_address_whatever_the_name_or_refuses_and_writes_nothing(
    hooks, routes, serial, name
):
    for leftover in [*(hooks / "run").glob("*-hosts-*/*"), hooks / "answer"]:
        leftover.unlink(missing_ok=True)
    before = {str(path) for path in hooks.rglob("*")}
    done = run(hooks, "client-connect", str(hooks / "answer"), serial=serial, common_name=name, text=False)
    expected = right_addresses(OVERLAY, serial)
    assert (done.returncode == 0) is (expected is not None), (serial, done.stderr)
    new = {str(path) for path in hooks.rglob("*")} - before
    if expected is None:
        assert not new and routes.heard() == ""
        return
    ipv4, ipv6 = expected.split()
    of_session = f"run/vcubev-hosts-udp/{ipv4}"
    pushed = f"ifconfig-push {ipv4} 255.255.0.0\nifconfig-ipv6-push {ipv6}/64 {ipv6}\n"
    assert (hooks / "answer").read_text() == pushed
    beside = (f"{of_session}.serial", f"{of_session}.names")
    assert new == {f"{hooks}/{made}" for made in ("answer", of_session, *beside)}
    assert routes.heard() == f"come {ipv4} hosts-udp\n"
