"""What shared addresses lead to: the rules, as nft takes them, whatever the agent's file says."""

import json
import shutil
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.loading import load
from tests.rendering import MACHINES

steer, flows, members, health = load("steer"), load("flows"), load("members"), load("health")
SERVICES = {
    path.rpartition("/")[2].removesuffix(".json"): json.loads(spec.content)
    for path, spec in MACHINES["nearest:web-1"].items()
    if path.startswith("/etc/vcubev/nearest/")
}
NUMBERS = st.integers() | st.integers(-2, 260)
SOME = (
    NUMBERS | st.none() | st.booleans() | st.text(max_size=5) | st.lists(NUMBERS | st.booleans() | st.text(max_size=3))
)


def test_new_connections_go_to_the_chosen_server_and_others_are_refused():
    text = steer.ruleset(SERVICES, {"ldap": {"server": 3, "lost": []}})
    assert "ip daddr 10.100.2.0 tcp dport { 389, 636 } dnat ip to 10.100.2.3" in text
    assert "ip6 daddr fd5c:ab1e:0:2:: tcp dport { 389, 636 } dnat ip6 to fd5c:ab1e:0:2::3" in text
    assert "udp dport" not in text, "service time has no server"
    assert text.count("reject") == 4, "once for the address, not for each service"


@given(
    st.dictionaries(
        st.sampled_from(["ldap", "time", "other"]), st.dictionaries(st.sampled_from(["server", "lost"]), SOME)
    )
)
def test_whatever_the_agent_says_a_service_leads_to_members_of_its_role_only(chosen):
    targets = {
        line.split(" to ")[1].split()[0] for line in steer.ruleset(SERVICES, chosen).splitlines() if " to " in line
    }
    gone = {server for _, server in steer.gone(SERVICES, chosen)}
    assert all(address.startswith(("10.100.2.", "fd5c:ab1e:0:2::")) for address in targets | gone)
    assert not {"10.100.2.0", "10.100.2.255"} & targets


@pytest.mark.skipif(shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="nftables is not installed")
@pytest.mark.parametrize("chosen", [{}, {"ldap": {"server": 3}, "time": {"server": 254}}])
def test_nft_takes_the_rules_again_and_again_and_once_none(chosen):
    texts = [steer.ruleset(SERVICES, chosen), steer.ruleset(SERVICES, chosen), steer.ruleset({}, {})]
    load_all = (
        'export PATH=$PATH:/usr/sbin; for file in 1 2 3; do read -r text; printf %b "$text" | nft -f - || exit 1; done'
    )
    lines = "".join(json.dumps(text)[1:-1].replace('\\"', '"').replace("\\n", "\\n") + "\n" for text in texts)
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        f"{load_all}; nft list table inet vcubev_nearest",
    ]
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "dnat" not in done.stdout and "reject" not in done.stdout


def test_flows_are_forgotten_that_led_by_a_shared_address_to_a_server_that_is_lost():
    chosen = {"ldap": {"server": 1, "lost": [2]}, "time": {"server": 1, "lost": [2, 3]}}
    assert steer.gone(SERVICES, chosen) == {("10.100.2.0", "10.100.2.2"), ("10.100.2.0", "10.100.2.3")}, "of UDP only"


@given(st.binary(max_size=200))
def test_an_answer_that_is_none_names_no_member(answer):
    try:
        found = members.answered(answer, 7, "10.100.2.0")
    except members.Unknown:
        return
    assert found is None or all(1 <= member <= 254 for member in found)


def test_a_hubs_answer_names_the_members_that_live():
    question = members.question("ldap.vcubev.internal", 7)
    records = b"".join(
        b"\xc0\x0c" + members.RECORD.pack(1, 1, 1, 4) + socket.inet_aton(address)
        for address in ("10.100.2.1", "10.100.2.254", "10.100.3.1")
    )
    head = members.HEADER.pack(7, 0x8580, 1, 3, 0, 0)
    assert members.answered(head + question[12:] + records, 7, "10.100.2.0") == {1, 254}
    nobody = members.HEADER.pack(7, 0x8583, 1, 0, 0, 0) + question[12:]
    assert members.answered(nobody, 7, "10.100.2.0") == set()
    assert members.answered(members.HEADER.pack(7, 0x8780, 1, 0, 0, 0) + question[12:], 7, "10.100.2.0") is None
    for code in (2, 5):
        with pytest.raises(members.Unknown):
            members.answered(members.HEADER.pack(7, 0x8580 | code, 1, 0, 0, 0) + question[12:], 7, "10.100.2.0")


@pytest.mark.parametrize(
    "line, status, well",
    [
        (b"HTTP/1.1 200 OK\r\n", None, True),
        (b"HTTP/1.0 204\r\n", None, True),
        (b"HTTP/1.1 301 Moved\r\n", None, False),
        (b"HTTP/1.1 301 Moved\r\n", 301, True),
        (b"HTTP/1.1 200 OK\r\n", 204, False),
        (b"HTTP/1.1 2000 OK\r\n", None, False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, False),
        (b"", None, False),
    ],
)
def test_an_http_check_looks_at_the_status(line, status, well):
    assert health.expected(line, status) is well
