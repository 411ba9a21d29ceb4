"""`scripts/policy`, and the look at the policy's own assertions before an `up`."""

from __future__ import annotations

from typing import Annotated

import typer

from components.model.errors import StackErrors
from scripts.cli import policy
from scripts.cli.stack import Stack
from scripts.cli.terminal import BAD_INPUT, NOT_WELL, Json, OfStack, checked, console, errors, tell

policies = typer.Typer(no_args_is_help=True, help="Ask what a stack's policy says. Changes nothing.")


@policies.command("explain")
def policy_explain(
    source: Annotated[str, typer.Argument(help="A host, SITE/HUB or an overlay address.")],
    target: Annotated[str, typer.Argument(help="Likewise, or a role whose nearest host answers.")],
    port: Annotated[str, typer.Argument(help="389/tcp, 53/udp or icmp.")],
    name: OfStack = "lab",
    as_data: Json = False,
) -> None:
    """Say whether a first packet arrives, and by which rule. Exit codes: 0 it does; 3 it is dropped; 2 bad input."""
    topology = checked(name).topology()
    try:
        verdict = policy.explain(topology, source, target, port)
    except StackErrors as mistakes:  # of the question; the stack file has none
        for one in mistakes.errors:
            errors.print(f"{one.value} {one.limit}. {one.cure}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from None
    if as_data:
        tell({"from": source, "to": target, "port": port, "allowed": verdict.allowed, "reason": verdict.reason})
        raise typer.Exit(0 if verdict.allowed else NOT_WELL)
    word = "[green]allowed[/]" if verdict.allowed else "[red]dropped[/]"
    console.print(f"{source} to {target}, {port}: {word}: {verdict.reason}", highlight=False)
    raise typer.Exit(0 if verdict.allowed else NOT_WELL)


@policies.command("test")
def policy_test(name: OfStack = "lab", as_data: Json = False) -> None:
    """Run the assertions under vcubev:tests. Exit codes: 0 all hold; 3 one does not."""
    results = policy.check(checked(name).topology())
    if as_data:
        tell(
            [
                {
                    "place": result.place,
                    "told": result.told,
                    "expected": result.expected,
                    "allowed": result.verdict.allowed,
                    "reason": result.verdict.reason,
                }
                for result in results
            ]
        )
    for result in () if as_data else results:
        mark = "[green]ok[/]" if result.kept else "[red]FAILED[/]"
        expected = "allowed" if result.expected else "dropped"
        console.print(f"{mark} {result.place}: {result.told}: {expected} ({result.verdict.reason})", highlight=False)
    failed = sum(not result.kept for result in results)
    if not as_data:
        console.print(f"{len(results) - failed} passed, {failed} failed")
    raise typer.Exit(NOT_WELL if failed else 0)


def keeps_its_tests(stack: Stack) -> None:
    """End where the stack file's own assertions about its policy do not hold."""
    broken = [result for result in policy.check(stack.topology()) if not result.kept]
    for result in broken:
        expected = "allowed" if result.expected else "dropped"
        errors.print(f"vcubev:{result.place}: {result.told} should be {expected}: {result.verdict.reason}")
    if broken:
        errors.print("The policy does not keep the stack file's own tests; nothing was changed.")
        raise typer.Exit(BAD_INPUT)
