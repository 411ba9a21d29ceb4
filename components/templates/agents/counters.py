"""What the packet filter has counted, by the comments of its rules."""

import asyncio
import contextlib
import json

# Without the elements of sets, of which a hub with many hosts has thousands.
SHOW = ("nft", "-j", "-t", "list", "table", "inet", "vcubev")
LOOK_SECONDS = 10
PATIENCE_SECONDS = 5
VERDICTS = {"drop": "drop", "reject": "drop", "accept": "accept"}


def counted(shown: str | bytes) -> dict[str, dict[str, int]]:
    """Read what nft printed: {"drop": {"no service": packets}, "accept": {"service ldap": packets}}.

    Raises:
        ValueError: It is none of its answers.
    """
    found = {"accept": {}, "drop": {}}
    try:
        for rule in (entry["rule"] for entry in json.loads(shown)["nftables"] if "rule" in entry):
            packets = [part["counter"]["packets"] for part in rule["expr"] if part.get("counter")]
            verdict = next((VERDICTS[word] for part in rule["expr"] for word in part if word in VERDICTS), None)
            if packets and verdict:
                name = rule.get("comment", rule["chain"])
                found[verdict][name] = found[verdict].get(name, 0) + sum(packets)
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"not what nft prints: {problem}") from None
    return found


async def look() -> dict[str, dict[str, int]]:
    """Return what the packet filter has counted; {} if nobody can tell."""
    with contextlib.suppress(OSError, ValueError, asyncio.TimeoutError):
        pipe = asyncio.subprocess.PIPE
        nft = await asyncio.create_subprocess_exec(*SHOW, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        try:
            shown, _ = await asyncio.wait_for(nft.communicate(), PATIENCE_SECONDS)
            return counted(shown)
        finally:
            with contextlib.suppress(ProcessLookupError):
                nft.kill()
    return {}
