"""`vcubev backup` and `vcubev restore`: going on with a stack when the operator's computer is lost."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from scripts.cli.backup import SHORTEST_PHRASE, Backup, CannotBackUp, Unreadable, gather, opened, sealed
from scripts.cli.stack import EngineFailed, Stack
from scripts.cli.state import resources, whole
from scripts.cli.terminal import BAD_INPUT, FAILED, Json, StackName, Yes, checked, console, errors, from_here, tell

PhraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Holds the backup's pass phrase; else you are asked."),
]
PASSPHRASE, PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"


def backup(
    name: StackName = "lab",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default NAME-DATE.backup.")
    ] = None,
    phrase_file: PhraseFile = None,
    as_data: Json = False,
) -> None:
    """Write all that is needed to go on with a stack on another computer into one file: never over another one.

    Stack file, state with all keys, and the state's passphrase, sealed by a pass phrase of your own (scrypt,
    AES-256-GCM; the file has mode 0600 as well). Who has both owns the network. Credentials of clouds are not in it.
    Write one after each `up` that has changed something: of machines that came later an older one knows nothing.

    Exit codes: 0 written; 1 the stack is not up; 2 the file is there already, or the pass phrase is too short.
    """
    stack = checked(name)
    console.quiet = as_data
    if not stack.exists():
        errors.print(f"Stack {name} is not up.")
        raise typer.Exit(FAILED)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    file = from_here(output or Path(f"{name}-{made[:10]}.backup"))
    if file.exists():
        _refuse(f"{file} is there already, and nothing is written over it.")
    # Encrypted as it lies in the back end.
    state = json.loads(stack.answer("stack", "export", "-s", name))
    try:
        kept = gather(name, made, stack.file.read_text(), state, stack.passphrase())
    except CannotBackUp as problem:
        errors.print(str(problem), highlight=False)
        raise typer.Exit(FAILED) from None
    text = sealed(kept, _phrase(phrase_file, new=True))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        _refuse(f"{file}: {problem.strerror}.")
    with os.fdopen(descriptor, "w") as opened_file:
        opened_file.write(text)
        opened_file.flush()
        os.fsync(opened_file.fileno())
    pending = len(state["deployment"].get("pending_operations") or ())
    if as_data:
        tell({"stack": name, "file": str(file), "made": made, "resources": len(resources(state)), "pending": pending})
        return
    console.print(f"Written: {file}. It is worth nothing without its pass phrase: keep the two apart.", highlight=False)
    console.print(f"On another computer: vcubev restore {file.name}", highlight=False)
    if pending:
        console.print("[yellow]An up was broken off, and the backup knows no better: run up, then back up again.[/]")


def restore(
    file: Annotated[Path, typer.Argument(help="As `vcubev backup` wrote it.")],
    phrase_file: PhraseFile = None,
    passphrase_to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the state's own passphrase goes, for a back end of your own."),
    ] = None,
    yes: Yes = False,
    as_data: Json = False,
) -> None:
    """Bring a stack back from a backup into a clone of this program and a back end that do not have it. Then: `up`.

    Never over a stack that is there. Another stack file of this name is kept beside it, as Pulumi.NAME.yaml.before.

    Exit codes: 0 restored; 1 the engine failed; 2 no backup, another pass phrase, or the stack is there.
    """
    console.quiet = as_data
    try:
        text = from_here(file).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        _refuse(f"{file}: {getattr(problem, 'strerror', None) or 'no text'}.")
    try:
        kept = opened(text, _phrase(phrase_file))
    except Unreadable as problem:
        _refuse(f"{file}: {problem}")
    stack = Stack(kept.stack)
    before = stack.file.read_text() if stack.file.exists() else None
    changed = before is not None and before != kept.stack_file
    if changed and not yes:
        if as_data:
            _refuse(f"{stack.file} is another. With --json there is nobody to ask: add --yes.")
        typer.confirm(f"{stack.file} is another. Put that of the backup in its place?", abort=True)
    stack.file.write_text(kept.stack_file)
    try:
        _bring_back(stack, kept, from_here(passphrase_to) if passphrase_to else None)
    except BaseException:
        stack.file.unlink() if before is None else stack.file.write_text(before)
        raise
    if before is not None and changed:
        Path(f"{stack.file}.before").write_text(before)
    inventory = whole(stack.outputs())
    if as_data:
        tell({"stack": kept.stack, "made": kept.made, "hubs": sorted(inventory.hubs), "hosts": sorted(inventory.hosts)})
        return
    told = f"{len(inventory.hubs)} hubs and {len(inventory.hosts)} hosts, as they were on {kept.made}"
    console.print(f"Stack {kept.stack} is back: {told}. See whether it still is so: vcubev up {kept.stack}")
    if passphrase_to:
        console.print(f"export {PASSPHRASE_FILE}={from_here(passphrase_to).absolute()}", highlight=False)


def _bring_back(stack: Stack, kept: Backup, passphrase_to: Path | None) -> None:
    """Make the stack in its back end, and give it the state; nothing of it stays where that fails."""
    stack.topology()  # this program may be older than the backup
    _accept(stack, kept.passphrase, passphrase_to)
    if stack.exists():
        _refuse(f"Stack {stack.name} is there already: nothing is restored over it.")
    try:
        stack.prepare()
        stack.replace_state(kept.state)
        stack.outputs()
    except EngineFailed:
        if stack.exists():
            stack.engine("stack", "rm", "--yes", "--force", "--preserve-config", stack.name, quiet=True)
        raise


def _accept(stack: Stack, passphrase: str, passphrase_to: Path | None) -> None:
    """See that the engine will find the state's passphrase, and no other."""
    if not passphrase:
        return  # in a cloud's key service, which asks for the user's own credentials
    known = stack.passphrase()
    if known is not None and known != passphrase:
        where = stack.settings().get(PASSPHRASE_FILE, f"{PASSPHRASE} or {PASSPHRASE_FILE}")
        _refuse(
            f"There is another passphrase in {where}, and all stacks of one place have one. Restore elsewhere "
            f"(XDG_STATE_HOME for lab stacks), or take the other stacks down first."
        )
    if known is not None:
        return
    own = stack.settings().get(PASSPHRASE_FILE)
    if own is None and passphrase_to is None:
        _refuse("The state of this stack goes to your own back end: say by --passphrase-to FILE where its key goes.")
    target = Path(own) if own else passphrase_to
    assert target is not None
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        _refuse(f"{target}: {problem.strerror}.")
    with os.fdopen(descriptor, "w") as opened_file:
        opened_file.write(passphrase)
    if not own:
        os.environ[PASSPHRASE_FILE] = str(target)


def _phrase(file: Path | None, new: bool = False) -> str:
    """Return the backup's pass phrase: from a file, or from the user; never from the command line."""
    if file is not None:
        try:
            phrase = from_here(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as problem:
            _refuse(f"{file}: {getattr(problem, 'strerror', None) or 'no text'}.")
    else:
        phrase = typer.prompt("Pass phrase of the backup", hide_input=True, confirmation_prompt=new, err=True)
    if new and len(phrase) < SHORTEST_PHRASE:
        _refuse(f"The pass phrase has {len(phrase)} characters. Take {SHORTEST_PHRASE} or more: words at random.")
    return phrase


def _refuse(why: str) -> NoReturn:
    errors.print(why, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(BAD_INPUT) from None
