"""What a machine is given before its first contact: user_data, or for one that was there before, a command."""

from __future__ import annotations

from collections.abc import Sequence

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO
from ruamel.yaml.scalarstring import LiteralScalarString

from components.model.render import TEMPLATES, FileSpec, text

FIRST_CONTACT = (TEMPLATES / "machine" / "first-contact.sh").read_text()


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


def brought_script(template: str, login_user: str, **values: object) -> str:
    """Return a command for a machine that the user brings: cloud-init's part, done or undone over SSH.

    Args:
        template: Name of a file in templates/machine.
    """
    return text(f"machine/{template}", {"login_user": login_user, **values})


def first_contact_script(login_user: str, first_key: str, accepted_keys: Sequence[str]) -> str:
    """Return what the first contact runs on a machine that cloud-init has prepared.

    Args:
        first_key: The login key that the machine was launched with.
        accepted_keys: Those that are let in from then on.
    """
    if [first_key.strip()] == authorized(accepted_keys).split("\n"):
        return FIRST_CONTACT
    return FIRST_CONTACT + text(
        "machine/authorize.sh.j2", {"login_user": login_user, "keys": authorized(accepted_keys)}
    )


def authorized(public_keys: Sequence[str]) -> str:
    """Return lines of an authorized_keys file."""
    return "\n".join(key.strip() for key in public_keys)


def login_files(login_user: str, public_keys: Sequence[str]) -> dict[str, FileSpec]:
    """Return what lets the operator's keys in, and no other."""
    # Root's: sshd takes that as well, and reads it as the user.
    return {f"/home/{login_user}/.ssh/authorized_keys": FileSpec(authorized(public_keys) + "\n")}
