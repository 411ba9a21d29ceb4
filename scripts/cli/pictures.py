"""Makes pictures of a stack that is up: what a terminal shows, the map, the dashboard on a desk and on a phone."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.async_api import async_playwright
from rich.console import Console
from rich.text import Text

from scripts.cli.stack import ROOT

PICTURES = ROOT / "docs" / "pictures"
COMMAND = "./scripts/vcubev"
SCREENS = {"dashboard": ((1280, 1000), "light"), "dashboard-phone": ((390, 844), "dark")}
LOOK_SECONDS = 12  # until hubs have pinged each other
FROM_ELSEWHERE = re.compile(r"@font-face {.*?}\s*", re.DOTALL)


def terminal(*command: str) -> str:
    """Return an SVG of what a command prints, as wide as that is."""
    environment = {**os.environ, "FORCE_COLOR": "1"}
    printed = subprocess.run([COMMAND, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return pictured(f"$ vcubev {' '.join(command)}", printed.stdout)


def pictured(typed: str, printed: str) -> str:
    lines = [Text(typed, "bold"), *Text.from_ansi(printed).split("\n")]
    for line in lines:
        line.rstrip()
    screen = Console(record=True, width=max(line.cell_len for line in lines) + 1, file=io.StringIO())
    screen.print(Text("\n").join(lines))
    # The reader's own font does: a README's picture may fetch nothing.
    return FROM_ELSEWHERE.sub("", screen.export_svg(title="vcubev"))


async def screenshots(stack: str) -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "dashboard", stack, "--port", "0", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        line = (await process.stdout.readline()).decode()
        address = re.search(r"http://\S+", line)[0]
        async with async_playwright() as playwright:
            chromium = shutil.which("chromium")
            # Root may not have Chromium's own sandbox.
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, ((width, height), scheme) in SCREENS.items():
                page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                await page.goto(address)
                await page.locator("#health", has_text=re.compile("well|down|unfit")).wait_for()
                await page.wait_for_timeout(LOOK_SECONDS * 1000)
                # What lies below a phone's screen is left to the reader's thumb.
                await page.screenshot(path=PICTURES / f"{name}.png", full_page=width > height)
            await browser.close()
    finally:
        process.terminate()
        await process.wait()


def main(stack: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "status.svg").write_text(terminal("status", stack))
    picture = str(Path("docs/pictures/topology.svg"))
    subprocess.run([COMMAND, "topology", stack, "--live", "-o", picture], cwd=ROOT, check=True)
    asyncio.run(screenshots(stack))
    print(f"Written: {PICTURES.relative_to(ROOT)}/")


if __name__ == "__main__":
    main(sys.argv[1])
