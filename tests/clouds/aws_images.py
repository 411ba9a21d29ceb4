"""Debian's images and parameters at the emulated AWS, in every region, by Debian's own account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models.amis import Ami
from moto.ssm.models import Parameter

# https://wiki.debian.org/Cloud/AmazonEC2Image
DEBIAN_OWNER = "136693071363"
IMAGES = {
    # An older one beside each, or "the newest" would be no question.
    ("amd64", "x86_64"): (("ami-0deb12a0000000001", "20260101-1979"), ("ami-0deb12a0000000002", "20261101-2300")),
    ("arm64", "arm64"): (("ami-0deb12b0000000001", "20260101-1979"), ("ami-0deb12b0000000002", "20261101-2300")),
}


def seed(ec2: Any, ssm: Any, region: str) -> None:
    for (debian_arch, arch), versions in IMAGES.items():
        for image_id, version in versions:
            ec2.amis[image_id] = Ami(
                ec2,
                image_id,
                name=f"debian-12-{debian_arch}-{version}",
                description=f"Debian 12 ({version})",
                owner_id=DEBIAN_OWNER,
                public=True,
                virtualization_type="hvm",
                architecture=arch,
                creation_date=datetime.strptime(version[:8], "%Y%m%d"),
                hypervisor="xen",
                root_device_type="ebs",
                root_device_name="/dev/xvda",
                region_name=f"{region}a",
            )
        name = f"/aws/service/debian/release/12/latest/{debian_arch}"
        parameter = Parameter(
            account_id=ec2.account_id,
            name=name,
            value=versions[-1][0],
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=utcnow(),
            version=1,
            data_type="aws:ec2:image",
        )
        ssm._parameters[name].append(parameter)
