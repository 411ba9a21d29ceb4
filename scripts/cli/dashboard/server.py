"""Serves the dashboard on the loopback address, to who knows its address only. Nothing can be changed by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from scripts.cli.dashboard.board import Board
from scripts.cli.gather import FOLLOWING, Gatherer
from scripts.cli.inventory import Inventory

LOOPBACK = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
FEWEST_SECONDS = 0.2  # between two pictures
ASK_SECONDS = 0.4  # between a machine's answer and the next question to it
REST_SECONDS = 1  # a picture at least so often: a page that gets none says so
TOKEN_BYTES = 16
SHUTDOWN_SECONDS = 0.5  # aiohttp would wait a minute for open pages, which hear of news for as long as they are open
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server:
    """The page, and what happens as a stream of events. Other users of this computer do not know the token."""

    def __init__(self, board: Board, inventory: Inventory) -> None:
        self.board, self.token = board, secrets.token_urlsafe(TOKEN_BYTES)
        self.gatherer = Gatherer(board.stack, inventory, board.topology, FOLLOWING)
        self._news = asyncio.Event()
        self._waiting: set[asyncio.Event] = set()
        self._view: str = "{}"
        self.application = web.Application(middlewares=[self._guarded])
        self.application.router.add_get(f"/{self.token}/", self._file("index.html"))
        for name in ("board.js", "map.js", "style.css", "icon.svg"):
            self.application.router.add_get(f"/{self.token}/{name}", self._file(name))
        self.application.router.add_get(f"/{self.token}/state", self._state)
        self.application.router.add_get(f"/{self.token}/events", self._events)

    @contextlib.asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[str]:
        """Serve and watch; give the page's address.

        Raises:
            OSError: The port is taken.
        """
        runner = web.AppRunner(self.application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, LOOPBACK, port)
            await site.start()
            self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # 0: any that is free
            async with self.gatherer:
                following = self.gatherer.follow(ASK_SECONDS, self._news.set)
                work = [asyncio.create_task(following), asyncio.create_task(self._draw())]
                try:
                    yield f"http://{LOOPBACK}:{self._port}/{self.token}/"
                finally:
                    for task in work:
                        task.cancel()
                    await asyncio.gather(*work, return_exceptions=True)
        finally:
            await runner.cleanup()

    async def _draw(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), REST_SECONDS)
            self._news.clear()
            self._view = json.dumps(self.board.view(self.gatherer.snapshot()))
            for one in self._waiting:
                one.set()
            await asyncio.sleep(FEWEST_SECONDS)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        # A page elsewhere whose name leads here may not read it (DNS rebinding).
        if request.host not in (f"{LOOPBACK}:{self._port}", f"localhost:{self._port}"):
            raise web.HTTPForbidden(text="This is no address of the dashboard.")
        return await handler(request)

    def _file(self, name: str):
        async def send(request: web.Request) -> web.FileResponse:
            return web.FileResponse(PAGE / name, headers=HEADERS)

        return send

    async def _state(self, request: web.Request) -> web.Response:
        return web.Response(text=self._view, content_type="application/json", headers=HEADERS)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        news = asyncio.Event()
        news.set()
        self._waiting.add(news)
        try:
            while True:
                await news.wait()
                news.clear()
                await answer.write(f"data: {self._view}\n\n".encode())
        except (ConnectionResetError, asyncio.CancelledError):
            return answer
        finally:
            self._waiting.discard(news)
