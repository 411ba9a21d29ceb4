"""Machines of the user's own: reached by the user's login once, by the stack's from then on, and left as they were."""

import json

import pulumi
import pytest

from components.machine import LOGIN_USER
from components.model.bundle import unpack
from tests.components.declared import declare, lab_values

COMMAND = "command:remote:Command"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


def brought(number, **more):
    return {"address": f"192.0.2.{number}", "user": "admin", "host_key": f"{HOST_KEY}{number}", **more}


def values():
    """The lab with an office beside it, which has no hub of its own."""
    stack = lab_values()
    stack["sites"]["office"] = {
        "id": 3,
        "cloud": "byo",
        "hubs_of": "oregon",
        "hosts": {
            "web-9": {"role": "web", "id": 9, "machine": brought(9, port=2222)},
            "db-9": {"role": "db", "id": 9, "private": True, "machine": brought(10)},
        },
    }
    return stack


@pytest.fixture(scope="module")
def office():
    return declare(values(), signed_in=True)


def commands(recorder, machine):
    made = recorder.of_type(COMMAND)
    return made[f"m-{machine}-first-contact"], made[f"m-{machine}-install"]


def test_the_users_login_serves_the_first_contact_and_the_stacks_all_later_ones(office):
    first, install = commands(office, "web-9")
    assert (first["connection"]["user"], first["connection"]["hostKey"]) == ("admin", f"{HOST_KEY}9")
    assert "privateKey" not in first["connection"], "with no key given the SSH agent signs"
    assert install["connection"]["user"] == LOGIN_USER and install["connection"]["privateKey"]
    assert {first["connection"]["port"], install["connection"]["port"]} == {2222}


def test_a_key_given_as_a_secret_signs_the_first_contact(monkeypatch):
    monkeypatch.setattr(pulumi.Config, "get_secret", lambda config, key: pulumi.Output.secret("THE USER'S KEY"))
    office = declare(values(), signed_in=True)
    first, install = commands(office, "web-9")
    assert first["connection"]["privateKey"] == "THE USER'S KEY" != install["connection"]["privateKey"]
    leaks = [name for (_, name), args in office.made.items() if "THE USER'S KEY" in str(args.inputs)]
    assert all("-9-" in name for name in leaks), "the user's key is for the user's machines only"


def test_the_first_contact_does_what_cloud_init_does_elsewhere(office):
    script = commands(office, "web-9")[0]["create"]
    assert all(
        word in script
        for word in ("apt-get install", "openvpn", f"useradd --create-home --shell /bin/bash {LOGIN_USER}")
    )
    assert "ssh_host_ed25519_key" in script


def test_deleting_takes_files_and_login_off_the_machine_that_lives_on(office):
    first, install = commands(office, "web-9")
    assert "remove" in install["delete"] and f"userdel --force --remove {LOGIN_USER}" in install["delete"]
    assert "delete" not in first
    request = office.options[COMMAND, "m-web-9-install"]
    assert not request.deletedWith, "nothing else takes the files away"
    lab = office.of_type(COMMAND)["m-web-1-install"]
    assert "delete" not in lab and office.options[COMMAND, "m-web-1-install"].deletedWith


def test_hosts_of_a_site_with_no_hub_use_those_of_the_site_that_stands_in(office):
    bundle = unpack(commands(office, "web-9")[1]["stdin"])
    assert json.loads(bundle["files"]["/etc/vcubev/paths.json"]["content"])["site"] == "oregon"
    assert "/etc/vcubev/hubs/1.json" in bundle["files"] and "/etc/vcubev/hubs/2.json" not in bundle["files"]


def test_a_private_one_is_reached_through_a_hub(office):
    first, _ = commands(office, "db-9")
    hub = office.of_type(COMMAND)["m-oregon-a-install"]["connection"]["host"]
    assert (first["connection"]["host"], first["connection"]["proxy"]["host"]) == ("192.0.2.10", hub)


def test_a_site_of_such_machines_changes_nothing_at_others(office):
    lab = declare(lab_values(), signed_in=True)
    assert all(office.made[key].inputs == args.inputs for key, args in lab.made.items())


def test_a_hub_keeps_the_port_of_ssh_open_that_the_user_has_chosen():
    stack = values()
    office = stack["sites"]["office"]
    del office["hubs_of"]
    office["hubs"] = {"a": {"id": 9, "machine": brought(1, port=2200)}}
    bundle = unpack(declare(stack).of_type(COMMAND)["m-office-a-install"]["stdin"])
    assert "tcp dport { 22, 443, 2200 } accept" in bundle["files"]["/etc/nftables.conf"]["content"]
