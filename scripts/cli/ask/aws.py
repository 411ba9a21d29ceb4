"""AWS, by boto3: its own chain of credentials, and AWS_ENDPOINT_URL for emulated ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from scripts.cli.ask import STACK_TAG, CannotAsk, Leftover

QUICK = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 4, "mode": "standard"})
# Instances and NAT gateways that were deleted are listed for about an hour more.
GONE = {"terminated", "shutting-down", "deleted", "deleting"}
CURE = "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`"


def signed_in(region: str, account: str) -> str:
    with _told(account):
        identity = _session(region, account).client("sts", config=QUICK).get_caller_identity()
    return f"account {identity['Account']}"


def leftovers(stack: str, region: str, account: str) -> Iterator[Leftover]:
    with _told(account):
        ec2 = _session(region, account).client("ec2", config=QUICK)
        mine = [{"Name": f"tag:{STACK_TAG}", "Values": [stack]}]
        # All that this program makes at AWS is EC2's, and EC2 lists all of its tags in one answer.
        tagged = ec2.get_paginator("describe_tags").paginate(
            Filters=[{"Name": "key", "Values": [STACK_TAG]}, {"Name": "value", "Values": [stack]}]
        )
        found = {tag["ResourceId"]: tag["ResourceType"] for page in tagged for tag in page["Tags"]}
        states = {}
        for page in ec2.get_paginator("describe_instances").paginate(Filters=mine):
            for instance in [one for reservation in page["Reservations"] for one in reservation["Instances"]]:
                states[instance["InstanceId"]] = instance["State"]["Name"]
        for page in ec2.get_paginator("describe_nat_gateways").paginate(Filters=mine):
            states |= {gateway["NatGatewayId"]: gateway["State"] for gateway in page["NatGateways"]}
    for identity, kind in found.items():
        if states.get(identity) not in GONE:
            yield Leftover("aws", region, kind, identity)


def _session(region: str, account: str) -> boto3.Session:
    return boto3.Session(profile_name=account or None, region_name=region)


@contextmanager
def _told(account: str) -> Iterator[None]:
    """Turn botocore's errors into one sentence."""
    who = f"aws (profile {account})" if account else "aws"
    try:
        yield
    except ProfileNotFound:
        raise CannotAsk(f"{who}: there is no such profile in ~/.aws/config. Add it, or mend `account`.") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise CannotAsk(f"{who}: no credentials, or half of them. {CURE}.") from None
    except TokenRetrievalError:
        raise CannotAsk(f"{who}: the sign-in has expired. Run `aws sso login`.") from None
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
        raise CannotAsk(
            f"{who}: refused ({code}). Are the credentials of the right account, and valid? {CURE}."
        ) from None
    except BotoCoreError as problem:
        raise CannotAsk(f"{who}: {type(problem).__name__}: no answer from AWS. Is the region's name right?") from None
