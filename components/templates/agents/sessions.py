"""A hub's links as its BIRD sees them: BGP and BFD, and since when."""

import re
import time

PROTOCOL = re.compile(
    r"^[ \d-]*link(\d+)\s+BGP\s+\S+\s+\S+\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?\S*\s+(\w+)", re.MULTILINE
)
BFD = re.compile(r"^[ \d-]*\S+\s+link(\d+)\s+(Up|Down|Init|AdminDown)\s", re.MULTILINE)
ESTABLISHED = "Established"


def links(protocols: str, bfd: str, hubs: list[dict]) -> list[dict]:
    """Return all links, by the peer's number.

    Args:
        protocols: BIRD's answer to "show protocols", with `timeformat protocol iso long`.
        bfd: Its answer to "show bfd sessions".
        hubs: What is known of hubs: [{"id", "site", "name"}].
    """
    names = {hub["id"]: f"{hub.get('site')}/{hub.get('name')}" for hub in hubs}
    seen = {int(number): state for number, state in BFD.findall(bfd)}
    return [
        {
            "id": int(number),
            "peer": names.get(int(number)),
            "bgp": state,
            "bfd": seen.get(int(number)),
            "since": int(time.mktime(time.strptime(since, "%Y-%m-%d %H:%M:%S"))) if since else None,
        }
        for number, since, state in sorted(PROTOCOL.findall(protocols), key=lambda found: int(found[0]))
    ]
