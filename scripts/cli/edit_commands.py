"""`vcubev add`, `remove`, `move` and `rename`: the stack file changed as its checks allow, all else in it kept."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from components.clouds import known_clouds
from components.model.entries import USER_PATTERN
from components.model.errors import StackError, StackErrors
from scripts.cli.edit.changing import How, change
from scripts.cli.edit.editor import Editor
from scripts.cli.terminal import Json, OfStack

add = typer.Typer(no_args_is_help=True, help="Add to a stack file, with the next free id. Changes no machine.")
remove = typer.Typer(no_args_is_help=True, help="Take out of a stack file; ids stay retired. Changes no machine.")
rename = typer.Typer(no_args_is_help=True, help="Rename in a stack file, references too. Rebuilds no machine.")

Preview = Annotated[bool, typer.Option("--preview", help="Show what the engine would do, and ask before writing.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the difference, write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --preview: do not ask.")]
Number = Annotated[int | None, typer.Option("--id", help="By default the next that nobody ever had.")]
Machine = Annotated[
    str | None, typer.Option("--machine", metavar="USER@ADDRESS[:PORT]", help="Cloud byo: how SSH first reaches it.")
]
HostKey = Annotated[
    str | None, typer.Option("--host-key", metavar='"TYPE KEY"', help="Cloud byo: two words of its public host key.")
]
MACHINE = re.compile(rf"(?P<user>{USER_PATTERN.strip('^$')})@(?P<address>[0-9.]+)(?::(?P<port>\d{{1,5}}))?")


def edits(work: Callable[..., None]) -> Callable[..., None]:
    """Make a command of what changes an editor: its options also say which stack is meant, and what becomes of it."""

    def shared(
        stack: OfStack = "lab",
        preview: Preview = False,
        dry_run: DryRun = False,
        yes: Yes = False,
        as_data: Json = False,
    ) -> None: ...

    def command(stack: str, preview: bool, dry_run: bool, yes: bool, as_data: bool, **wished: Any) -> None:
        change(stack, lambda editor: work(editor, **wished), How(preview, dry_run, yes, as_data))

    _, *own = inspect.signature(work, eval_str=True).parameters.values()
    common = inspect.signature(shared, eval_str=True).parameters.values()
    command.__name__, command.__doc__ = work.__name__, work.__doc__
    # What typer reads.
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *common)}
    return command


def brought(machine: str | None, host_key: str | None) -> dict[str, Any] | None:
    """Return a `machine:` entry."""
    if machine is None and host_key is None:
        return None
    match = MACHINE.fullmatch(machine or "")
    if match is None or not host_key:
        cure = 'Write --machine admin@203.0.113.7 --host-key "ssh-ed25519 AAAA...", as ssh-keyscan ADDRESS prints it.'
        raise StackErrors([StackError("machine", repr(machine), "is not how SSH reaches a machine", cure)])
    port = {"port": int(match["port"])} if match["port"] else {}
    return {"address": match["address"], "user": match["user"], "host_key": host_key, **port}


@add.command("host")
@edits
def add_host(
    editor: Editor,
    name: str,
    role: Annotated[str, typer.Option(help="A role of the stack.")],
    site: Annotated[str, typer.Option(help="Where its machine is.")],
    private: Annotated[bool, typer.Option("--private", help="No public address.")] = False,
    unmanaged: Annotated[bool, typer.Option("--unmanaged", help="A laptop: joins by `vcubev join-bundle`.")] = False,
    zone: Annotated[int | None, typer.Option(help="Failure zone, from 0; else it follows from the id.")] = None,
    machine: Machine = None,
    host_key: HostKey = None,
    number: Number = None,
) -> None:
    """Add a member machine. Exit codes: 0 written; 2 mistakes, nothing was written."""
    more = {"private": private, "unmanaged": unmanaged, "zone": zone, "machine": brought(machine, host_key)}
    editor.add_host(name, site, role, number, **more)


@add.command("site")
@edits
def add_site(
    editor: Editor,
    name: str,
    cloud: Annotated[str, typer.Option(autocompletion=lambda: sorted(known_clouds()))],
    region: Annotated[str | None, typer.Option(help="The cloud's own name of it.")] = None,
    hubs: Annotated[int | None, typer.Option(min=0, max=26, help="How many, named a, b, ... By default one.")] = None,
    hubs_of: Annotated[str | None, typer.Option("--hubs-of", help="Cloud byo without a hub: whose hubs.")] = None,
    account: Annotated[str | None, typer.Option(help="Another than the environment's.")] = None,
    underlay: Annotated[str | None, typer.Option(help="Private prefix there; by default 172.30.ID.0/24.")] = None,
    size: Annotated[str | None, typer.Option(help="The cloud's own name of a machine's size.")] = None,
    nat: Annotated[str | None, typer.Option(help="gateway or hub: private hosts' way out.")] = None,
    machine: Machine = None,
    host_key: HostKey = None,
    number: Number = None,
) -> None:
    """Add a cloud region with its hubs. Exit codes: 0 written; 2 mistakes, nothing was written."""
    own = brought(machine, host_key)
    count = hubs if hubs is not None else (0 if hubs_of else 1)
    more: dict[str, Any] = {"hubs_of": hubs_of, "account": account, "underlay": underlay, "id": number}
    more |= {"machine": {"size": size} if size else None, "network": {"nat": nat} if nat else None}
    entries = [{"machine": own} if own else {} for _ in range(count)]
    editor.add_site(name, cloud, region, entries, **more)


@add.command("hub")
@edits
def add_hub(
    editor: Editor,
    hub: Annotated[str, typer.Argument(metavar="SITE/HUB")],
    zone: Annotated[int | None, typer.Option(help="Failure zone, from 0; else it follows from the id.")] = None,
    size: Annotated[str | None, typer.Option(help="Where it differs from the site's.")] = None,
    machine: Machine = None,
    host_key: HostKey = None,
    number: Number = None,
) -> None:
    """Add a hub to a site. Exit codes: 0 written; 2 mistakes, nothing was written."""
    more = {"size": size, "zone": zone, "machine": brought(machine, host_key)}
    site, _, name = hub.partition("/")
    editor.add_hub(site, name, number, **more)


@add.command("role")
@edits
def add_role(
    editor: Editor,
    name: str,
    number: Number = None,
) -> None:
    """Add a block of addresses that hosts are drawn from. Exit codes: 0 written; 2 mistakes, nothing was written."""
    editor.add_role(name, number)


@add.command("service")
@edits
def add_service(
    editor: Editor,
    name: str,
    on: Annotated[str, typer.Option(help="The role or host that serves.")],
    port: Annotated[list[str], typer.Option(help="443/tcp or 6000-6010/udp. May be repeated.")],
    source: Annotated[list[str], typer.Option("--from", help="Role, host, site, prefix or any. May be repeated.")],
) -> None:
    """Say who may reach what. Exit codes: 0 written; 2 mistakes, nothing was written."""
    editor.add_service(name, on, port, source)


def _removal(kind: str, told: str) -> None:
    @edits
    def command(
        editor: Editor, name: Annotated[str, typer.Argument(help="As the stack file has it; a hub's is SITE/HUB.")]
    ) -> None:
        getattr(editor, f"remove_{kind}")(name)

    remove.command(kind, help=f"{told} Exit codes: 0 written; 2 mistakes, nothing was written.")(command)


def _renaming(kind: str, told: str) -> None:
    @edits
    def command(editor: Editor, old: str, new: str) -> None:
        getattr(editor, f"rename_{kind}")(old, new)

    rename.command(kind, help=f"{told} Exit codes: 0 written; 2 mistakes, nothing was written.")(command)


_removal("host", "Take a host out; its address is nobody's from then on.")
_removal("hub", "Take a hub out.")
_removal("site", "Take a site out with all of its hubs and hosts.")
_removal("role", "Take a role out that no host has any more.")
_removal("service", "Take a service out; what it opened is closed.")
_renaming("host", "Rename a host. Its machine, address and key stay.")
_renaming("role", "Rename a role. Its hosts' addresses stay.")
_renaming("site", "Rename a site that is not up: hosts know hubs by it.")


@edits
def move(
    editor: Editor,
    host: str,
    site: Annotated[str, typer.Argument(help="Where it will be.")],
) -> None:
    """Put a host into another site: another machine, the same address and key, a name below that site.

    Exit codes: 0 written; 2 mistakes, nothing was written.
    """
    editor.move_host(host, site)
