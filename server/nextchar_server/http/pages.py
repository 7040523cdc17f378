"""The static files of the playground.

Part of the HTTP port. They are read once, when the server starts, and sent to everybody: they hold no secret.

Invariant: a page may load nothing from other hosts, and run no script but these files.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
_PREFIX = "/playground/"
_TYPES = {".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Page:
    """A file."""

    content: bytes
    headers: dict[str, str]

    @property
    def tag(self) -> str:
        """Changes with the content."""
        return self.headers["ETag"]


def read_pages(folder: Path = FOLDER) -> dict[str, Page]:
    """Returns the files by their path: index.html at /, every one below /playground/."""
    pages = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts):
            pages[_PREFIX + path.relative_to(folder).as_posix()] = _page(path)
    if (index := pages.get(_PREFIX + "index.html")) is not None:
        pages["/"] = pages[_PREFIX] = index
    return pages


def _page(path: Path) -> Page:
    content = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind in ("text/html", "text/css", "text/plain"):
        kind += "; charset=utf-8"
    headers = {
        "Content-Type": kind,
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "ETag": f'"{sha256(content).hexdigest()[:24]}"',
    }
    return Page(content, headers)
