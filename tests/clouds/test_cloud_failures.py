"""Clouds at their worst: `up` tells what happened, can be run again, and nothing doubles or is left alone."""

import boto3
import pytest

from tests.clouds.emulated import EmulatedStack
from tests.clouds.faults import Fault

pytestmark = pytest.mark.lab
# A cloud's machine may take minutes; two of them would make this file the longest of all.
LATE_SECONDS = 45


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    made = EmulatedStack(tmp_path_factory.mktemp("failures"), "failtest")

    def small(config):
        oregon = config["vcubev:sites"]["oregon"]
        del oregon["hubs"]["b"], oregon["hosts"]
        config["vcubev:sites"].clear()
        config["vcubev:sites"]["oregon"] = oregon

    made.tree.edit(small)
    yield made
    made.down()
    made.end()


@pytest.fixture
def ec2(stack):
    keys = {"aws_access_key_id": "emulated", "aws_secret_access_key": "emulated"}
    return boto3.client("ec2", region_name="us-west-2", endpoint_url=stack.aws.url, **keys)


def told(done):
    return done.stdout + done.stderr


def test_a_quota_is_told_in_the_clouds_words(stack):
    stack.aws.order(Fault("RunInstances", status=400, code="VcpuLimitExceeded", message="You have requested too much"))
    done = stack.up()
    assert done.returncode == 1 and "VcpuLimitExceeded: You have requested too much" in told(done)
    assert "instance" not in stack.aws.things()


def test_an_up_after_that_throttled_and_cut_off_makes_one_instance_whose_ssh_is_late(stack):
    stack.aws.order(Fault("RunInstances", times=2, status=503, code="RequestLimitExceeded", message="Slow down"))
    # Carried out, but the answer is lost: botocore asks again with the same token.
    stack.aws.order(Fault("RunInstances", status=500, after=True))
    stack.aws.order(Fault("DescribeInstances", times=2, status=503, code="Unavailable", message="Try again"))
    done = stack.up()
    assert done.returncode == 0, told(done)[-4000:]
    assert stack.aws.calls()["RunInstances"] == 5, "quota, two throttled, one cut off, its answer"
    assert len(stack.aws.things()["instance"]) == len(stack.aws.things()["elastic-ip"]) == 1


def test_a_machine_that_someone_took_away_is_made_anew_however_late_it_boots(stack, ec2):
    gone = stack.aws.things()["instance"]
    ec2.terminate_instances(InstanceIds=gone)
    stack.aws.order(Fault("RunInstances", boot_after_seconds=LATE_SECONDS))
    done = stack.up()
    assert done.returncode == 0, told(done)[-4000:]
    assert len(stack.aws.things()["instance"]) == 1 and stack.aws.things()["instance"] != gone


def test_what_is_gone_already_is_no_obstacle_to_down(stack, ec2):
    ec2.terminate_instances(InstanceIds=stack.aws.things()["instance"])
    stack.aws.order(Fault("DeleteSecurityGroup", status=503, code="RequestLimitExceeded", message="Slow down"))
    done = stack.down()
    assert done.returncode == 0, told(done)[-4000:]
    assert stack.things() == {}
