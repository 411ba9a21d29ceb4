"""cloud-init's own schema on what machines boot with, by the cloud-init of the lab's image."""

import subprocess

import pytest

from components.clouds.lab import FACTS
from lab import image
from tests.rendering import user_data

pytestmark = pytest.mark.lab


def schema(text, tmp_path):
    (tmp_path / "user-data").write_text(text)
    # In a mount namespace of its own: the image itself stays as it is.
    program = 'mount --bind "$2" "$1/mnt" && exec chroot "$1" cloud-init schema --config-file /mnt/user-data'
    command = ["unshare", "--mount", "sh", "-c", program, "sh", image.ensure(FACTS.default_image), tmp_path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_cloud_init_takes_the_user_data_of_a_machine(tmp_path):
    done = schema(user_data(), tmp_path)
    assert done.returncode == 0 and "Valid cloud-config" in done.stdout, done.stdout + done.stderr


def test_cloud_inits_check_would_see_a_mistake(tmp_path):
    assert schema(user_data().replace("ssh_deletekeys: true", "ssh_deletekeys: [1]"), tmp_path).returncode != 0
