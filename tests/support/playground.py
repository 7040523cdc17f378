"""The hands of a reader of the playground."""

from playwright.sync_api import Locator, Page, expect

TEXT = "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n"


def write(page: Page, prompt: str = "ROMEO:\n", *, seed: int | str = 7, length: int = 120) -> None:
    """Types a prompt, a seed and a length, and lets the model write."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Seed", exact=True).fill(str(seed))
    page.get_by_label("Length", exact=True).fill(str(length))
    page.get_by_label("Prompt", exact=True).press("Control+Enter")


def pane(page: Page, state: str = "length") -> Locator:
    """Waits until the first text that is in sight is in ``state``, and returns its pane."""
    found = page.locator(".pane:visible").first
    expect(found).to_have_attribute("data-state", state)
    return found


def text_of(pane: Locator) -> str:
    """Returns the text that a model wrote into ``pane``."""
    texts: list[str] = pane.locator("[data-n]").evaluate_all("spans => spans.map(span => span.textContent)")
    return "".join(texts)
