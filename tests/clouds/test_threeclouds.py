"""One stack over Amazon, Linode, the lab and a machine of the user's own: both clouds emulated, all machines boot."""

import json

import boto3
import pytest

from tests.clouds.brought import BroughtMachine
from tests.clouds.emulated import PROJECT, EmulatedStack

pytestmark = pytest.mark.lab
PARIS_2 = {"id": 4, "cloud": "linode", "region": "us-east", "hubs": {"a": {"id": 5}}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    made = EmulatedStack(tmp_path_factory.mktemp("threeclouds"), "threetest")
    try:
        yield made
    finally:
        made.down()
        made.end()


@pytest.fixture(scope="module")
def office(stack, tmp_path_factory):
    """The box is in the stack file, and its login is told as README says."""
    box = BroughtMachine(PROJECT, stack.tree.stack, tmp_path_factory.mktemp("office"))
    box.before = box.look()
    machine = box.in_stack_file()
    stack.tree.edit(lambda config: config["vcubev:sites"]["office"]["hosts"]["web-4"].update({"machine": machine}))
    name = stack.tree.stack
    told = f'eval "$(./scripts/env {name})" && pulumi stack init {name} && '
    told += f"pulumi config set --secret -s {name} vcubev:byo_private_key <{box.key_file}"
    done = stack.tree.run("bash", "-euc", told)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield box
    finally:
        if box.exists():  # after a failure: it must be there to be cleared
            destroy(stack)
            box.remove()


def up(stack):
    done = stack.up()
    # 3 if a host does not reach another.
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


def destroy(stack):
    return stack.tree.pulumi("destroy", "--yes", "--skip-preview")


def names(stack, cloud):
    return {kind: len(ids) for kind, ids in stack.things().get(cloud, {}).items()}


def leftovers(stack, *more):
    done = stack.tree.script("leftovers", stack.tree.stack, "--json", *more)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert not found["not_asked"] and bool(found["left"]) == done.returncode
    return [item for item in found["left"] if item["cloud"] != "lab"]  # what emulated machines are made of


def interfaces(stack):
    """Return all network interfaces at AWS by their names; "" is the NAT gateway's own."""
    keys = {"aws_access_key_id": "emulated", "aws_secret_access_key": "emulated"}
    ec2 = boto3.client("ec2", region_name="us-west-2", endpoint_url=stack.aws.url, **keys)
    found = ec2.describe_network_interfaces()["NetworkInterfaces"]
    return {next((tag["Value"] for tag in one["TagSet"] if tag["Key"] == "Name"), ""): one for one in found}


def test_all_hosts_of_three_clouds_and_a_machine_of_the_users_own_reach_each_other(stack, office):
    up(stack)
    assert names(stack, "aws")["instance"] == 4 and names(stack, "linode")["instance"] == 3
    assert "Nothing changed." in up(stack).stdout
    checks = {name: one["SourceDestCheck"] for name, one in interfaces(stack).items()}
    assert {name for name, check in checks.items() if name and not check} == {
        "threetest-oregon-a",
        "threetest-oregon-b",
    }


def test_the_users_own_packet_filter_stays_in_force_beside_the_stacks(office):
    assert {"table inet office {", "table inet vcubev {"} <= set(office.look()["filter"])
    office.run("systemctl restart nftables")
    assert {"table inet office {", "table inet vcubev {"} <= set(office.look()["filter"]), "as after a reboot"


def test_leftovers_lists_all_that_the_clouds_have_while_the_stack_is_up(stack):
    told = " ".join(item["what"] for item in leftovers(stack))
    ids = {one for things in stack.things().values() for kind in things.values() for one in kind}
    unseen = {one for one in ids if one not in told}
    assert len(ids) > 20 and unseen == {interfaces(stack)[""]["NetworkInterfaceId"]}, "which goes with its NAT gateway"


def test_no_credential_is_in_the_state_or_in_what_was_printed(stack, office):
    told = stack.tree.log.read_text() + stack.tree.pulumi("stack", "export").stdout
    for secret in ("emulated-secret-key", "emulated-token", *office.key_file.read_text().splitlines()[1:-1]):
        assert secret not in told


def test_a_site_more_touches_nothing_that_exists(stack):
    stack.tree.edit(lambda config: config["vcubev:sites"].update({"newark": PARIS_2}))
    assert set(stack.tree.preview()) == {"create"}, "a new site would change what runs"
    up(stack)


def test_a_host_moves_to_another_cloud_and_keeps_its_address(stack):
    before = stack.tree.addresses()["web-1"]

    def move(config):
        sites = config["vcubev:sites"]
        sites["paris"]["hosts"]["web-1"] = sites["oregon"]["hosts"].pop("web-1")

    stack.tree.edit(move)
    up(stack)
    assert stack.tree.addresses()["web-1"] == before
    assert names(stack, "aws")["instance"] == 3 and names(stack, "linode")["instance"] == 5


def test_a_cloud_goes_and_leaves_nothing_there(stack):
    stack.tree.edit(lambda config: config["vcubev:sites"].pop("oregon"))
    up(stack)
    assert names(stack, "aws") == {}


def test_destroy_leaves_a_machine_of_the_users_own_as_it_was(stack, office):
    done = destroy(stack)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    now = office.look()
    changed = {kind: sorted(set(now[kind]) ^ set(was)) for kind, was in office.before.items() if now[kind] != was}
    assert not changed


def test_destroy_leaves_nothing_in_any_cloud(stack, office):
    office.remove()
    done = stack.down()
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert stack.things() == {}
    left = stack.tree.lab("leftovers")
    assert left.returncode == 0, left.stdout
    assert leftovers(stack, "--cloud", "aws") == [], "in no region, for the stack file names none of them any more"
