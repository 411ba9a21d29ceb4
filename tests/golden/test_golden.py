"""Every rendered file against its golden copy: a change of a byte on a machine shows up in review."""

import os
import subprocess
import sys

import pytest

from components.model.boot import cloud_config
from tests.rendering import (
    EVERY_FILE,
    EVERY_FILE_IDS,
    MACHINES,
    ROOT,
    brought_scripts,
    first_contact,
    gateway_filter,
    leaf_links,
    user_data,
)


@pytest.mark.parametrize("machine, path", EVERY_FILE, ids=EVERY_FILE_IDS)
def test_a_file_is_what_it_was(machine, path, snapshot):
    spec = MACHINES[machine][path]
    assert f"mode {spec.mode}; on change: {', '.join(spec.on_change) or 'nothing'}\n{spec.content}" == snapshot


def test_the_first_contact_is_what_it_was(snapshot):
    assert first_contact() == snapshot


def test_user_data_is_what_it_was(snapshot):
    assert user_data() == snapshot


def test_the_packet_filter_of_a_gateway_is_what_it_was(snapshot):
    assert gateway_filter() == snapshot


@pytest.mark.parametrize("ends", ["h4-h1", "h4-h2", "h4-h3", "h1-h4"])
def test_a_link_of_a_hub_that_leans_on_others_is_what_it_was(ends, snapshot):
    routing = [spec.content for path, spec in leaf_links()[ends].items() if path.startswith("/etc/bird/")]
    assert len(routing) == 1 and routing[0] == snapshot


@pytest.mark.parametrize("script", ["prepare", "leave"])
def test_what_runs_on_a_machine_of_the_users_own_is_what_it_was(script, snapshot):
    assert brought_scripts()[script] == snapshot


def test_boot_commands_come_before_all_else():
    private = cloud_config(
        (), "vcubev", "ssh-ed25519 A\n", "KEY\n", "ecdsa B\n", ["ip route replace default via 10.0.0.1"]
    )
    assert "bootcmd:\n- ip route replace default via 10.0.0.1\n" in private
    assert "bootcmd" not in user_data(), "a machine that needs none keeps the user_data that it was launched with"


def test_rendering_does_not_depend_on_the_order_of_sets():
    program = (
        "import hashlib; from tests.rendering import MACHINES, user_data\n"
        "print(hashlib.sha256(repr([sorted(MACHINES.items()), user_data()]).encode()).hexdigest())"
    )
    sums = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(sums) == 1


def test_every_key_is_for_its_owner_only():
    for machine, path in EVERY_FILE:
        spec = MACHINES[machine][path]
        secret = any(word in spec.content for word in ("KEY\n", "TLS-CRYPT-V2\n"))
        assert not secret or spec.mode == "0600", f"{path} on {machine} can be read by others"


def test_every_file_ends_with_a_line_end_and_names_no_undefined_value():
    for machine, path in EVERY_FILE:
        content = MACHINES[machine][path].content
        assert content.endswith("\n") and "None" not in content, f"{machine}:{path}"


def test_user_data_holds_packages_login_and_one_host_key_only():
    assert user_data().count("PRIVATE KEY") == 2, "begin and end of the first contact's host key"
    assert "openvpn" in user_data() and "tls-crypt" not in user_data()
