"""Questions to machines that are a program of ours: sent by SSH's stdin, run as root, answered by JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import asyncssh

from components.model.files import TEMPLATES
from scripts.cli.reach import Observer

RUN_MODULES = """sudo -n python3 -I -c 'import json, sys, types
asked = json.load(sys.stdin)
for name, text in asked["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(text, module.__dict__)
module.main(asked["question"])'"""


class NoAnswer(Exception):
    """A machine that let us in did not answer, or not sensibly."""


async def ask(
    observer: Observer, machine: str, modules: tuple[str, ...], question: Mapping[str, Any], seconds: float
) -> Any:
    """Run a program on a machine that the observer is connected to.

    Args:
        modules: Of components/templates/machine, in the order in which they import each other; the last has `main`.

    Raises:
        NoAnswer: It broke down, or was too slow.
    """
    texts = [(name, (TEMPLATES / "machine" / f"{name}.py").read_text()) for name in modules]
    try:
        answer = await observer.run(
            machine, RUN_MODULES, json.dumps({"modules": texts, "question": question}), seconds=seconds
        )
        return json.loads(answer)
    except TimeoutError:
        raise NoAnswer(f"it did not answer within {seconds:g} s") from None
    except (OSError, asyncssh.Error) as problem:
        raise NoAnswer(str(problem) or type(problem).__name__) from None
    except ValueError:
        raise NoAnswer("its answer makes no sense: does `sudo -n python3` work there?") from None
