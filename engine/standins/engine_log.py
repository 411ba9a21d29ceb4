"""Lines that a plugin shows to the user while a resource is being made."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


class EngineLog:
    """Sends log lines to the engine, in order; without an engine (tests) it drops them."""

    def __init__(self, engine_address: str = "") -> None:
        self._address = engine_address
        self._stub: Any = None
        self._sending: asyncio.Future[None] | None = None

    def status(self, urn: str, text: str) -> None:
        """Show one line in the resource's row only; it is not kept (the official plugins' `InfoStatus`)."""
        self._send(urn, text, "INFO", ephemeral=True)

    def warn(self, urn: str, text: str) -> None:
        self._send(urn, text, "WARNING", ephemeral=False)

    def _send(self, urn: str, text: str, severity: str, ephemeral: bool) -> None:
        if self._address:
            self._sending = asyncio.ensure_future(self._log(self._sending, urn, text, severity, ephemeral))

    async def _log(self, before: Any, urn: str, text: str, severity: str, ephemeral: bool) -> None:
        if before is not None:
            await before
        import grpc.aio
        from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

        if self._stub is None:
            self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(self._address))
        request = engine_pb2.LogRequest(
            severity=getattr(engine_pb2, severity), message=text, urn=urn, ephemeral=ephemeral
        )
        with contextlib.suppress(grpc.aio.AioRpcError):  # a lost line must not fail a resource that was made
            await self._stub.Log(request)
