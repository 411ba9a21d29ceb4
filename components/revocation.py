"""What the engine's state remembers of certificates, and which of them hubs refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi
from pulumi import ComponentResource, Output, ResourceOptions

from components.model.keys import Generations
from components.model.revocation import Issued, Ledger, issued_in, ledger_in

TYPE = "vcubev:index:Revocations"
STACK_TYPE = "::pulumi:pulumi:Stack::"
READ_STATE = "pulumi:pulumi:readStackResourceOutputs"
ORGANIZATION = "organization"  # what back ends that have none call it
WAITS = (0.05, 0.2, 0.5, 1, 2)  # seconds between attempts to read the state


@dataclass(frozen=True)
class RevocationsArgs:
    """What the stack file says."""

    authority: str  # how the common names of this mesh's authorities begin
    members: Mapping[str, Generations]  # common name of each hub and host -> the generations of its key that count
    listed: frozenset[str]  # common names, and serial numbers as text


class Revocations(ComponentResource):
    """The ledger of certificates. It goes by the state as it was before this run, so that all of it is known at preview
    and no machine that comes changes anything.

    The state is asked for by an invoke of the engine's own, with all its secrets; what comes of it holds none.
    """

    ledger: Output[Ledger]

    def __init__(self, name: str, args: RevocationsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        self._name, self._args = name, args
        # The engine reads its checkpoint when it is asked, which is before anything has changed. Should that be late,
        # what `remember` kept in the run before makes up for it.
        self._judging = asyncio.ensure_future(self._judged())
        self._stack_outputs: Mapping[str, Any] = {}
        self.ledger = Output.from_input(self._judging)

    async def stack_outputs(self) -> Mapping[str, Any]:
        """Return the stack's outputs as they were before this run; {} of a stack that was never made. Secrets are in it
        in the clear."""
        await self._judging
        return self._stack_outputs

    async def _judged(self) -> Ledger:
        args, state = self._args, await _state()
        self._stack_outputs = next((its["outputs"] for urn, its in state.items() if STACK_TYPE in urn), {})
        before = ledger_in(state, f"{TYPE}::{self._name}").with_issued(issued_in(state, args.authority))
        _warn_of_strangers(args.listed, before)
        return before.judged(args.members, args.listed, datetime.now(UTC))

    def remember(self, issued: Collection[Output[Issued]]) -> None:
        """Keep the ledger for the next run, with the certificates of this one.

        The next run finds those in the state, but for one that another has taken the place of by then.
        """
        whole = Output.all(self.ledger, Output.all(*issued)).apply(lambda both: both[0].with_issued(both[1]).written())
        self.register_outputs({key: whole.apply(lambda written, key=key: written[key]) for key in Ledger().written()})


async def _state() -> dict[str, Any]:
    """A back end in a folder writes a checkpoint's attributes beside it, not at once: who reads while the engine saves
    may find them empty ("failed to load checkpoint: EOF"). A second look finds them whole.
    """
    stack = "/".join((pulumi.get_organization() or ORGANIZATION, pulumi.get_project(), pulumi.get_stack()))
    for wait in WAITS:
        try:
            return await _read(stack)
        except Exception as error:  # the SDK raises no narrower one
            pulumi.log.debug(f"the state could not be read, again in {wait} s: {error}")
            await asyncio.sleep(wait)
    return await _read(stack)


async def _read(stack: str) -> dict[str, Any]:
    # An Output that fails ends the program even if somebody catches its error; this is none.
    return (await pulumi.runtime.invoke_async(READ_STATE, {"stackName": stack}))["outputs"]


def _warn_of_strangers(listed: Collection[str], ledger: Ledger) -> None:
    known = {text for one in (*ledger.live, *ledger.revoked) for text in (one.name, str(one.serial))}
    if strangers := sorted(set(listed) - known):
        pulumi.log.warn(f"vcubev:revoked: no certificate is known of {', '.join(strangers)}")
