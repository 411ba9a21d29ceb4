"""What a machine is given before its first contact: user_data, or for one that was there before, a command."""

from __future__ import annotations

from collections.abc import Sequence

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO
from ruamel.yaml.scalarstring import LiteralScalarString

from components.model.render import text


def cloud_config(
    packages: Sequence[str],
    login_user: str,
    login_public_key: str,
    ssh_host_private_key: str,
    ssh_host_public_key: str,
    boot_commands: Sequence[str] = (),
) -> str:
    """Return a machine's user_data: packages, login and the host key of the first contact, and nothing else.

    Args:
        boot_commands: What the machine needs at each boot before it has the internet.

    Source: https://docs.cloud-init.io/en/latest/reference/modules.html
    """
    config = {
        "package_update": True,
        "packages": list(packages),
        "disable_root": True,
        "ssh_pwauth": False,
        "users": [
            {
                "name": login_user,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [login_public_key.strip()],
            }
        ],
        # With keys given, cloud-init makes none of its own.
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ecdsa_private": LiteralScalarString(ssh_host_private_key),
            "ecdsa_public": ssh_host_public_key.strip(),
        },
    }
    if boot_commands:
        config = {"bootcmd": list(boot_commands), **config}
    written = StringIO()
    writer = YAML()
    writer.width = 4096
    writer.dump(config, written)
    return text("cloud-init/user-data.j2", {"config": written.getvalue()})


# Of the distribution's own, what the stack's files and units take the place of on a machine that was there before.
REPLACED_FILES = ("/etc/nftables.conf", "/etc/bird/bird.conf")
REPLACED_UNITS = ("nftables.service", "bird.service")


def prepare_script(login_user: str, packages: Sequence[str], login_public_key: str) -> str:
    """Return a command for a machine that the user brings: cloud-init's part, done over SSH.

    It remembers how the machine was.
    """
    values = {
        "login_user": login_user,
        "packages": packages,
        "login_public_key": login_public_key.strip(),
        "files": REPLACED_FILES,
        "units": REPLACED_UNITS,
        "settings": _kernel_settings(),
    }
    return text("machine/prepare.sh.j2", values)


def leave_script(login_user: str) -> str:
    """Return the command that makes such a machine what it was, once the stack's files are gone."""
    return text("machine/leave.sh.j2", {"login_user": login_user})


def _kernel_settings() -> list[str]:
    lines = [line for kind in ("hub", "host") for line in text(f"sysctl/{kind}.conf.j2", {}).splitlines()]
    return sorted({line.partition("=")[0].strip() for line in lines if "=" in line and not line.startswith("#")})
