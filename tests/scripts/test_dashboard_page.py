"""The dashboard's page in a real browser, with a board that the test fills."""

import asyncio
import contextlib
import os
import shutil
import urllib.error
import urllib.request

import pytest
from playwright.async_api import async_playwright

from scripts.cli.dashboard import server as serving
from scripts.cli.dashboard.board import Board
from scripts.cli.dashboard.server import Server
from scripts.cli.gather import Answer
from tests.scripts.seen_stack import TOPOLOGY, heard, host_state, hub_state, inventory, path, snapshot
from tests.scripts.test_board import well

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="Debian's chromium is not installed")
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


class Told:
    """In place of who asks the machines: the test itself says what they answer."""

    def __init__(self, stack, inventory, topology, patience):
        self.answers, self.changed = well(), lambda: None

    async def __aenter__(self):
        return self

    async def __aexit__(self, *reason):
        pass

    async def follow(self, seconds, changed):
        self.changed = changed
        changed()
        await asyncio.Event().wait()

    def snapshot(self):
        return snapshot(self.answers)

    def tell(self, **answers):
        self.answers |= {name.replace("_", "/"): answer for name, answer in answers.items()}
        self.changed()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(serving, "Gatherer", Told)
    return Server(Board("lab3", TOPOLOGY), inventory())


@contextlib.asynccontextmanager
async def opened(server, viewport=DESK, **more):
    async with server.serving(0) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport=viewport, **more)
        troubles, asked = [], []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda line: troubles.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(address, wait_until="load")
        await page.get_by_text("all 12 well").wait_for()
        yield page
        assert not troubles
        assert all(url.startswith(address) for url in asked), "the page asks for something outside"
        if directory := os.environ.get("VCUBEV_PICTURES"):
            await page.screenshot(path=f"{directory}/page-{viewport['width']}.png", full_page=True)
        await browser.close()


def _fetch(address, **headers):
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=5).read().decode()


def test_nobody_reads_the_page_without_its_token_or_by_another_name(server):
    async def look():
        async with server.serving(0) as address:
            base = address.removesuffix(f"{server.token}/")
            for place, headers in (
                (base, {}),
                (f"{base}state", {}),
                (f"{base}wrong/state", {}),
                (address, {"Host": "evil.example"}),
            ):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    await asyncio.to_thread(_fetch, place, **headers)
                assert refused.value.code in (403, 404)
            await asyncio.sleep(0.5)
            assert "lab3" in await asyncio.to_thread(_fetch, f"{address}state")

    asyncio.run(look())


def test_it_ends_at_once_though_a_page_is_open(server):
    async def look():
        async with contextlib.AsyncExitStack() as stack:
            address = await stack.enter_async_context(server.serving(0))
            port = int(address.split(":")[2].split("/")[0])
            page, asking = await asyncio.open_connection(serving.LOOPBACK, port)
            stack.callback(asking.close)
            asking.write(f"GET /{server.token}/events HTTP/1.1\r\nHost: {serving.LOOPBACK}:{port}\r\n\r\n".encode())
            assert b"200 OK" in await page.readline()
            await asyncio.wait_for(stack.aclose(), 20)  # aiohttp by itself: 60

    asyncio.run(look())


@needs_chromium
def test_a_hub_that_dies_turns_and_is_told_without_a_reload(server):
    async def look():
        async with opened(server) as page:
            hub = page.get_by_role("button", name="paris/a: up")
            await hub.wait_for()
            gone = {"peer": "paris/a", "bgp": "Connect", "bfd": "Down", "since": None, "id": 3}
            others = {
                hub: heard(hub_state(hub, links=[gone]), "hub", routes=[])
                for hub in ("oregon/a", "oregon/b", "tokyo/a")
            }
            hosts = {host.name: heard(host_state(path("oregon/a"), path("tokyo/a")), "host") for host in TOPOLOGY.hosts}
            server.gatherer.tell(**others, **hosts, paris_a=Answer(why="no answer within 2 s"))
            await page.get_by_role("button", name="paris/a: down").wait_for(timeout=2000)
            assert "paris/a down" in await page.locator("#health").inner_text()
            assert "up → down" in await page.locator("#event-list").inner_text()

    asyncio.run(look())


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen_in_light_and_in_dark(server, scheme):
    async def look():
        async with opened(server, PHONE, color_scheme=scheme) as page:
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            text, back = await page.evaluate(
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            )
            dark = sum(map(int, back.strip("rgb()").split(","))) < 3 * 128
            assert dark == (scheme == "dark") and text != back

    asyncio.run(look())


@needs_chromium
def test_all_members_can_be_reached_and_asked_by_keyboard(server):
    async def look():
        async with opened(server) as page:
            await page.get_by_role("button", name="oregon/a: up").focus()
            await page.keyboard.press("ArrowRight")
            assert await page.evaluate("document.activeElement.dataset.name") == "oregon/b"
            await page.keyboard.press("Enter")
            assert "oregon/b" in await page.locator("#detail").inner_text()
            for _ in range(3):
                await page.keyboard.press("ArrowRight")
            await page.keyboard.press("Enter")
            assert "role" in await page.locator("#detail").inner_text()

    asyncio.run(look())


@needs_chromium
def test_a_round_trip_of_half_a_tenth_of_a_millisecond_is_not_shown_as_none(server):
    async def look():
        async with opened(server) as page:
            near = heard(host_state(path("oregon/a", rtt_ms=0.047), path("paris/a", rtt_ms=12.34)), "host")
            server.gatherer.tell(**{"web-1": near})
            row = page.locator("#matrix-table tr", has=page.get_by_role("rowheader", name="web-1"))
            await row.get_by_text("0.047").wait_for(timeout=2000)
            assert "12.3" in await row.inner_text()

    asyncio.run(look())


@needs_chromium
def test_on_a_desk_the_round_trips_to_four_hubs_are_seen_whole(server):
    async def look():
        async with opened(server) as page:
            place = page.locator("#matrix .scroll")
            assert await place.evaluate("place => place.scrollWidth <= place.clientWidth")

    asyncio.run(look())


@needs_chromium
def test_names_are_text_and_never_markup(server):
    async def look():
        async with opened(server) as page:
            server.gatherer.tell(paris_a=Answer(why="<img src=x onerror=alert(1)>"))
            await page.get_by_text("<img src=x").first.wait_for()
            assert await page.locator("img").count() == 0

    asyncio.run(look())
