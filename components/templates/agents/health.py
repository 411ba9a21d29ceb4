"""Checks whether a server is well: it takes a connection, or answers a request as expected."""

import asyncio
import re
import time

PATIENCE_SECONDS = 2  # for all of a check
LONGEST_LINE = 1024
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r?\n)")
SUCCESS = range(200, 300)


def request(path: str, address: str, port: int) -> bytes:
    host = f"{address}:{port}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vcubev-nearest\r\nConnection: close\r\n\r\n".encode()


def expected(line: bytes, status: int | None) -> bool:
    """Tell whether an answer's first line is what was hoped for.

    Args:
        status: None for any of success.
    """
    found = STATUS.match(line)
    return found is not None and (int(found[1]) == status if status else int(found[1]) in SUCCESS)


async def check(address: str, how: dict) -> float | None:
    """Return how long a connection to a server took, in seconds; None if it is not well.

    Args:
        how: The stack file's `check`: {"tcp": 389}, or {"http": 8080, "path": "/healthz", "expect": 200}.
    """
    port = how["tcp"] or how["http"]
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(address, port, limit=LONGEST_LINE)
            took = time.monotonic() - began
            try:
                if how["http"] is None:
                    return took
                writer.write(request(how["path"], address, port))
                return took if expected(await reader.readline(), how["expect"]) else None
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
