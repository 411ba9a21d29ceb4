"""The emulated AWS where moto does otherwise."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from scripts.cli.ask import STACK_TAG, aws
from tests.clouds.bridge import PublicAddresses
from tests.clouds.serving import CloudProcess

REGIONS = ("us-west-2", "eu-west-3", "eu-north-1", "us-east-1", "ap-south-1", "sa-east-1")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    process = CloudProcess("tests.clouds.aws_cloud", None, tmp_path / "log")
    for key, value in {
        "AWS_ENDPOINT_URL": process.url,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)
    yield process
    process.stop()


def test_two_clouds_that_start_at_once_have_different_addresses():
    clouds = [PublicAddresses(0) for _ in range(3)]
    assert len({cloud.prefix for cloud in clouds}) == 3


def test_what_was_deleted_is_no_leftover_however_many_regions_are_asked_at_once(cloud):
    ec2 = boto3.client("ec2", region_name=REGIONS[0])
    tags = [{"ResourceType": "internet-gateway", "Tags": [{"Key": STACK_TAG, "Value": "mine"}]}]
    gone, kept = (
        ec2.create_internet_gateway(TagSpecifications=tags)["InternetGateway"]["InternetGatewayId"] for _ in range(2)
    )
    ec2.delete_internet_gateway(InternetGatewayId=gone)
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda region: list(aws.leftovers("mine", region, "")), REGIONS)
        found = [item for items in answers for item in items]
    assert [item.what for item in found] == [kept]
