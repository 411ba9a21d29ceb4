"""Files and directories to a remote machine over SFTP, as the official `command:remote:CopyToRemote` copies them.

Source: pulumi-command v1.2.1 provider/pkg/provider/remote/copyController.go
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable
from typing import Any

import asyncssh

from .properties import Failure
from .ssh import Connection, connect


async def copy_to_remote(
    connection: Connection, source: dict[str, Any], destination: str, show: Callable[[str], None]
) -> None:
    """Copy an asset or archive.

    | source | destination is a directory | does not exist | is a file  |
    |--------|----------------------------|----------------|------------|
    | dir    | destination/dir            | destination/dir| error      |
    | dir/   | destination/*              | destination/*  | error      |
    | file   | destination/file           | destination    | overwritten|
    | text   | error                      | destination    | overwritten|

    Raises:
        Failure: no connection, the source cannot be read, or the other side refuses.
    """
    async with connect(connection, show) as client:
        try:
            async with client.start_sftp_client() as sftp:
                if "path" not in source:
                    await _copy_text(sftp, source.get("text", ""), destination)
                elif os.path.isdir(source["path"]):
                    await _copy_directory(sftp, source["path"], destination)
                else:
                    await _copy_file(sftp, source["path"], destination)
        except (OSError, asyncssh.Error) as error:
            raise Failure(f"failed to copy to remote path {destination}: {error}") from None


async def _kind(sftp: asyncssh.SFTPClient, path: str) -> str:
    try:
        attributes = await sftp.stat(path)
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return "absent"
    return "directory" if stat.S_ISDIR(attributes.permissions or 0) else "file"


async def _copy_text(sftp: asyncssh.SFTPClient, text: str, destination: str) -> None:
    if await _kind(sftp, destination) == "directory":
        raise Failure(
            f"remote path {destination} is a directory; when using a text asset, remotePath must be a file path"
        )
    await _make_parents(sftp, destination)
    async with sftp.open(destination, "wb") as remote:
        await remote.write(text.encode())


async def _copy_file(sftp: asyncssh.SFTPClient, path: str, destination: str) -> None:
    found = await _kind(sftp, destination)
    if found == "directory":
        destination = posixpath.join(destination, os.path.basename(path))
    elif found == "absent":
        await _make_parents(sftp, destination)
    await sftp.put(path, destination)


async def _copy_directory(sftp: asyncssh.SFTPClient, path: str, destination: str) -> None:
    if not path.endswith("/"):
        destination = posixpath.join(destination, os.path.basename(path))
    await _make_directory(sftp, destination)
    for folder, subfolders, names in os.walk(path):
        below = os.path.relpath(folder, path)
        target = posixpath.normpath(posixpath.join(destination, below))
        for name in subfolders:
            await _make_directory(sftp, posixpath.join(target, name))
        for name in names:
            await sftp.put(os.path.join(folder, name), posixpath.join(target, name))


async def _make_directory(sftp: asyncssh.SFTPClient, path: str) -> None:
    found = await _kind(sftp, path)
    if found == "file":
        raise Failure(f"remote path {path} exists but is not a directory")
    if found == "absent":
        await sftp.makedirs(path, exist_ok=True)


async def _make_parents(sftp: asyncssh.SFTPClient, path: str) -> None:
    parent = posixpath.dirname(path)
    if parent:
        await sftp.makedirs(parent, exist_ok=True)
