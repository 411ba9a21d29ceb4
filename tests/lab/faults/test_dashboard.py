"""The dashboard of a running mesh in a real browser."""

import re
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect, sync_playwright

pytestmark = [pytest.mark.lab, pytest.mark.alone]
TURNS_SECONDS = 2
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\S+")


@contextmanager
def dashboard(tree):
    """Let the command run; give the address that it tells."""
    command = ["./scripts/vcubev", "dashboard", tree.stack, "--port", "0"]
    process = subprocess.Popen(command, cwd=tree.tree, env=tree.environment, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "")
        yield next(found[0] for line in lines if (found := ADDRESS.search(line)))
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def page(world):
    with dashboard(world.tree) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        yield page
        browser.close()


def member(page, name):
    return page.locator(f'.member[data-name="{name}"]')


def test_a_hub_that_loses_its_power_turns_within_two_seconds_and_its_hosts_are_shown_where_they_went(world, page):
    everybody = [*world.hubs, *world.hosts]
    expect(page.locator("#health")).to_have_text(f"all {len(everybody)} well", timeout=30_000)
    (hub, *_), host = world.carriers(), None
    host = next(name for name in world.hosts if world.hubs_of(name)[0] == hub)
    world.lab("power-off", hub)
    dark = time.monotonic()
    expect(member(page, hub)).to_have_attribute("data-state", re.compile("down|unseen"), timeout=TURNS_SECONDS * 1000)
    world.told.append(f"dashboard: a dead hub shown after {time.monotonic() - dark:.1f} s")
    expect(member(page, hub)).to_have_attribute("data-state", "down", timeout=5000)
    row = page.locator("#hosts-table tr", has=page.get_by_role("rowheader", name=re.compile(rf"^{host}\b")))
    expect(row.locator("td").nth(2)).not_to_have_text(hub, timeout=15_000)
    expect(page.locator("#event-list")).to_contain_text(hub)
    world.lab("start", hub)
    expect(page.locator("#health")).to_have_text(f"all {len(everybody)} well", timeout=90_000)
