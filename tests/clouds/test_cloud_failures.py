"""Clouds at their worst: `up` tells what happened, can be run again, and nothing doubles or is left alone."""

import copy

import boto3
import pytest
import requests

from tests.clouds.emulated import EmulatedStack
from tests.clouds.faults import NEVER, Fault

pytestmark = pytest.mark.lab
# How long `up` waits for a machine that will not come, by the stack file's own key.
SHORT_SECONDS = 10
# Stands for two minutes, which would make this file the longest of all: tries go on evenly, one in five seconds, from a
# quarter of a minute on, so that nothing tells a late machine from a later one.
LATE_SECONDS = 45
SLOW_DOWN = "Too many requests. Please wait a moment before trying again."


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    made = EmulatedStack(tmp_path_factory.mktemp("failures"), "failtest")

    def small(config):
        sites = config["vcubev:sites"]
        made.sites = {name: {**sites[name], "hubs": {"a": sites[name]["hubs"]["a"]}} for name in ("oregon", "paris")}
        for site in made.sites.values():
            del site["hosts"]

    made.tree.edit(small)
    only(made, "oregon")
    yield made
    made.down()
    made.end()


def only(stack, site, **machine):
    """Write one of the two sites into the stack file, with what its `machine` says."""
    wanted = {**copy.deepcopy(stack.sites[site]), "machine": machine}
    stack.tree.edit(lambda config: config.update({"vcubev:sites": {site: wanted}}))


@pytest.fixture
def ec2(stack):
    keys = {"aws_access_key_id": "emulated", "aws_secret_access_key": "emulated"}
    return boto3.client("ec2", region_name="us-west-2", endpoint_url=stack.aws.url, **keys)


def told(done):
    return " ".join((done.stdout + done.stderr).split())


def instances(cloud):
    return cloud.things().get("instance", [])


def fails(stack, *said):
    done = stack.up()
    assert done.returncode == 1, told(done)[-4000:]
    assert all(part in told(done) for part in said), told(done)[-4000:]


def succeeds(stack):
    done = stack.up()
    assert done.returncode == 0, told(done)[-4000:]


# Amazon


def test_a_quota_is_told_in_the_clouds_words(stack):
    stack.aws.order(Fault("RunInstances", status=400, code="VcpuLimitExceeded", message="You have requested too much"))
    fails(stack, "VcpuLimitExceeded: You have requested too much")
    assert not instances(stack.aws)


def test_an_instance_that_ends_before_it_runs_is_told_with_its_clouds_reason(stack):
    stack.aws.order(Fault("RunInstances", boot_fails=True))
    fails(stack, "failtest-oregon-a", "Server.InternalError: Internal error on launch")
    assert not instances(stack.aws)


def test_an_up_after_that_throttled_and_cut_off_makes_one_instance(stack):
    before = stack.aws.calls()["RunInstances"]
    stack.aws.order(Fault("RunInstances", times=2, status=503, code="RequestLimitExceeded", message="Slow down"))
    # Carried out, but the answer is lost: botocore asks again with the same token.
    stack.aws.order(Fault("RunInstances", status=500, after=True))
    stack.aws.order(Fault("DescribeInstances", times=2, status=503, code="Unavailable", message="Try again"))
    succeeds(stack)
    assert stack.aws.calls()["RunInstances"] - before == 4, "two throttled, one cut off, its answer"
    assert len(instances(stack.aws)) == len(stack.aws.things()["elastic-ip"]) == 1


def test_a_machine_that_never_boots_is_told_and_the_next_up_goes_on_with_the_same_one(stack, ec2):
    gone = instances(stack.aws)
    ec2.terminate_instances(InstanceIds=gone)
    stack.aws.order(Fault("RunInstances", boot_after_seconds=NEVER))
    only(stack, "oregon", boot_seconds=SHORT_SECONDS)
    fails(stack, "failtest-oregon-a-first-contact", "failed attempts")
    made = instances(stack.aws)
    assert len(made) == 1 and made != gone
    stack.aws.forget_faults()
    only(stack, "oregon")
    succeeds(stack)
    assert instances(stack.aws) == made and len(stack.aws.things()["elastic-ip"]) == 1


def test_what_is_gone_already_is_no_obstacle_to_down(stack, ec2):
    ec2.terminate_instances(InstanceIds=instances(stack.aws))
    stack.aws.order(Fault("DeleteSecurityGroup", status=503, code="RequestLimitExceeded", message="Slow down"))
    done = stack.down()
    assert done.returncode == 0, told(done)[-4000:]
    assert stack.things() == {}


# Linode


def test_linode_throttles_and_then_tells_of_a_limit(stack):
    only(stack, "paris")
    stack.linode.order(Fault("POST /vpcs", times=2, status=429, message=SLOW_DOWN))
    stack.linode.order(Fault("POST /networking/firewalls", status=429, message=SLOW_DOWN))
    limit = "Account Limit reached. Please open a support ticket."
    stack.linode.order(Fault("POST /linode/instances", status=400, message=limit))
    fails(stack, limit)
    assert stack.linode.calls()["POST /vpcs"] == 3 and not instances(stack.linode)


def test_a_linode_whose_create_was_cut_off_is_never_made_twice_and_leftovers_finds_it(stack):
    """Linode's API has no token that would tell a repeated call from another."""
    stack.linode.order(Fault("POST /linode/instances", status=500, message="Internal Server Error", after=True))
    fails(stack, "[500] Internal Server Error")
    (orphan,) = instances(stack.linode)
    fails(stack, "Label must be unique")
    assert instances(stack.linode) == [orphan]
    left = stack.tree.script("leftovers", stack.tree.stack)
    assert left.returncode == 1 and f"instance failtest-paris-a ({orphan})" in left.stdout
    url, token = f"{stack.linode.url}/v4/linode/instances/{orphan}", {"Authorization": "Bearer emulated-token"}
    requests.delete(url, headers=token, timeout=60).raise_for_status()


def test_a_linode_that_does_not_come_to_run_is_told_and_not_kept(stack):
    stack.linode.order(Fault("POST /linode/instances", boot_fails=True))
    only(stack, "paris", boot_seconds=SHORT_SECONDS)
    fails(stack, "failtest-paris-a", f"to be running: not in {SHORT_SECONDS} s; it is offline")
    assert not instances(stack.linode)


def test_a_machine_whose_ssh_is_late_is_waited_for(stack):
    stack.linode.order(Fault("POST /linode/instances", boot_after_seconds=LATE_SECONDS))
    stack.linode.order(Fault("GET /linode/instances/{id}", times=2, status=429, message=SLOW_DOWN))
    only(stack, "paris")
    succeeds(stack)
    assert len(instances(stack.linode)) == 1


def test_down_leaves_nothing_at_a_linode_that_throttles(stack):
    stack.linode.order(Fault("DELETE /networking/firewalls/{id}", times=2, status=429, message=SLOW_DOWN))
    stack.linode.order(Fault("DELETE /linode/instances/{id}", status=429, message=SLOW_DOWN))
    done = stack.down()
    assert done.returncode == 0, told(done)[-4000:]
    assert stack.things() == {}
