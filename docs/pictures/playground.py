"""Pictures of the playground, for the README and the docs: `python docs/pictures/playground.py`.

Needs `.[dev]` and Debian's Chromium (`apt-get install chromium fonts-noto-cjk`). Starts a server with the packaged
model, and writes the pictures beside this file, in at most 256 colours.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.playground import pane, write
from tests.support.server_process import started

FOLDER = Path(__file__).parent
MODEL = FOLDER.parents[1] / "server/nextchar_server/models/shakespeare.onnx"
COLOURS = 256
TEXT = """ROMEO:
But, soft! what light through yonder window breaks?
It is the east, and Juliet is the sun.
Colorless green ideas sleep furiously, said zxqv.
"""


def opened(browser: Browser, port: int, *, width: int, height: int, **options: object) -> Page:
    """Returns the page in a window of that size."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    page.locator("body[data-ready]").wait_for()
    return page


def keep(page: Page, name: str) -> None:
    """Writes a picture of the window."""
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def written(browser: Browser, port: int) -> None:
    """A text, and the alternatives of one of its characters."""
    page = opened(browser, port, width=1180, height=860)
    write(page, seed=7, length=320)
    pane(page).locator("[data-n]").nth(57).hover()
    keep(page, "playground")


def scored(browser: Browser, port: int) -> None:
    """A text that surprises, in the dark."""
    page = opened(browser, port, width=1180, height=720, color_scheme="dark")
    page.get_by_role("tab", name="Score").click()
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Score").click()
    pane(page, "done").locator("[data-n]").nth(52).hover()
    keep(page, "playground-score")


def followed(browser: Browser, port: int) -> None:
    """The unit that follows the place in the line."""
    page = opened(browser, port, width=1180, height=900)
    write(page, "", seed=5, length=700)
    pane(page).get_by_role("button", name="See its cells").click()
    page.locator("#strip svg").wait_for()
    page.get_by_role("button", name="Find").click()
    page.locator("#found").wait_for(timeout=120_000)
    page.locator("#cells-state.state:not(.running)").wait_for()
    page.locator("#cells-result [data-n]").nth(155).hover()
    keep(page, "playground-cells")


def on_a_phone(browser: Browser, port: int) -> None:
    """A phone, in Korean."""
    page = opened(browser, port, width=390, height=780, locale="ko-KR", is_mobile=True, has_touch=True)
    page.locator("#prompt").fill("JULIET:\n")
    page.locator("#p-seed").evaluate("field => (field.value = '3')")
    page.locator("#generate-go").tap()
    pane(page).scroll_into_view_if_needed()
    page.locator(".legend:visible").evaluate("element => element.scrollIntoView()")
    page.evaluate("scrollBy(0, -64)")
    keep(page, "playground-phone")


def main() -> None:
    """Makes all pictures."""
    with started("--model", f"verse={MODEL}") as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for make in (written, scored, followed, on_a_phone):
            make(browser, server.http_port)
        browser.close()


if __name__ == "__main__":
    main()
