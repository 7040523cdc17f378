"""The links of the built site, each followed: MkDocs calls this at the end of a build.

Invariant: a link or picture within the site that leads nowhere, or to no anchor, is a warning, which
``mkdocs build --strict`` turns into a failure. Links to other hosts aren't followed.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger

_log = get_plugin_logger("links")


class _Page(HTMLParser):
    """The links of a page, and the anchors that others can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {"", "__skip"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects the links and the anchors of a tag."""
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.links.add(value)
            elif (name == "id" or (tag, name) == ("a", "name")) and value:
                self.anchors.add(value)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Warns of each dead link of the site."""
    site = Path(config.site_dir).resolve()
    pages = {path: _Page(path) for path in site.rglob("*.html") if path.name != "404.html"}  # whose links are absolute
    for path, page in pages.items():
        for link in sorted(page.links):
            if not _leads_somewhere(path, link, pages):
                _log.warning("%s: dead link %s", path.relative_to(site), link)


def _leads_somewhere(path: Path, link: str, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if target in pages:
        return unquote(parts.fragment) in pages[target].anchors
    return target.is_file()
