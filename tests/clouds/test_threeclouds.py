"""One stack over Amazon, Linode and the lab, as a user runs it; both clouds are emulated, all machines boot."""

import pytest

from tests.clouds.emulated import EmulatedStack

pytestmark = pytest.mark.lab
PARIS_2 = {"id": 4, "cloud": "linode", "region": "us-east", "hubs": {"a": {"id": 5}}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    made = EmulatedStack(tmp_path_factory.mktemp("threeclouds"), "threetest")
    yield made
    made.down()
    made.end()


def up(stack):
    done = stack.up()
    # 3 if a host does not reach another.
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


def names(stack, cloud):
    return {kind: len(ids) for kind, ids in stack.things().get(cloud, {}).items()}


def test_all_hosts_of_three_clouds_reach_each_other(stack):
    up(stack)
    assert names(stack, "aws")["instance"] == 4 and names(stack, "linode")["instance"] == 3
    assert "Nothing changed." in up(stack).stdout


def test_no_credential_is_in_the_state_or_in_what_was_printed(stack):
    told = stack.tree.log.read_text() + stack.tree.pulumi("stack", "export").stdout
    for secret in ("emulated-secret-key", "emulated-token"):
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


def test_destroy_leaves_nothing_in_any_cloud(stack):
    done = stack.down()
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert stack.things() == {}
    left = stack.tree.lab("leftovers")
    assert left.returncode == 0, left.stdout
