"""What a machine is given before its first contact: user_data, or for one that was there before, a command."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO
from ruamel.yaml.scalarstring import LiteralScalarString

from components.model.files import TEMPLATES, FileSpec, text

FIRST_CONTACT = (TEMPLATES / "machine" / "first-contact.sh").read_text()

# Where a machine's keys go. OpenSSH's words need no quotes in YAML.
LOGIN_KEY, HOST_KEY, HOST_PRIVATE_KEY = "LOGIN-KEY-OF-STACK", "PUBLIC-KEY-OF-MACHINE", "PRIVATE-KEY-OF-MACHINE"
BLOCK_INDENT = "    "


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
    # Written once and filled in for each machine: the writer takes 4 ms, and there may be a thousand machines.
    written = _config(tuple(packages), login_user, tuple(boot_commands))
    for mark, value in (
        (LOGIN_KEY, login_public_key.strip()),
        (HOST_KEY, ssh_host_public_key.strip()),
        # A literal block: its lines stand as deep as the first.
        (HOST_PRIVATE_KEY, ssh_host_private_key.rstrip("\n").replace("\n", f"\n{BLOCK_INDENT}")),
    ):
        written = written.replace(mark, value)
    return written


@cache
def _config(packages: tuple[str, ...], login_user: str, boot_commands: tuple[str, ...]) -> str:
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
                "ssh_authorized_keys": [LOGIN_KEY],
            }
        ],
        # With keys given, cloud-init makes none of its own.
        "ssh_deletekeys": True,
        "ssh_keys": {"ecdsa_private": LiteralScalarString(f"{HOST_PRIVATE_KEY}\n"), "ecdsa_public": HOST_KEY},
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
