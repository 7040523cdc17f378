"""The files of the repository that pages link to, as pages of the site: MkDocs calls these functions.

Pages are read in the repository too, so they link to files outside docs/. The site has no repository beside it:
it gets a page for each such file, with its text, and the links lead there.

Invariant: a link that leads nowhere stays as it is, so that ``mkdocs build --strict`` reports it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_DOCS = _ROOT / "docs"
_FOLDER = "repository"
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?=[#)])")
_PICTURES = {".png", ".svg"}
_LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".proto": "proto", ".yml": "yaml", ".yaml": "yaml"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the files outside docs/ that pages link to, and those that these link to."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            target = _target(page, match["path"])
            if target is None or target in seen or target.is_relative_to(_DOCS):
                continue
            seen.add(target)
            files.append(_file(target, config))
            if target.suffix == ".md":
                waiting.append(target)
            elif target.is_dir():
                seen.update(new := {*_listed(target)} - seen)
                for path in sorted(new):
                    files.append(_file(path, config))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads the links of ``page`` to files outside docs/ to their pages."""
    source = page.file.src_uri
    outside = source.startswith(f"{_FOLDER}/")
    origin = (_ROOT / source.removeprefix(f"{_FOLDER}/")) if outside else _DOCS / source
    if not origin.exists():  # a page made here
        return markdown

    def led(match: re.Match[str]) -> str:
        target = _target(origin, match["path"])
        if target is None or (not outside and target.is_relative_to(_DOCS)):
            return match[0]
        return os.path.relpath(_uri(target), Path(source).parent)

    return _LINK.sub(led, markdown)


def _target(page: Path, link: str) -> Path | None:
    """Returns the file or folder that ``link`` on ``page`` leads to, if it is one of the repository."""
    path = (page.parent / link).resolve()
    return path if path.exists() and path.is_relative_to(_ROOT) else None


def _uri(path: Path) -> str:
    """Returns the place of a file in the site's sources."""
    if path.is_relative_to(_DOCS):
        return path.relative_to(_DOCS).as_posix()
    name = "/".join(part.lstrip(".") for part in path.relative_to(_ROOT).parts)  # MkDocs leaves hidden folders out
    if path.is_dir():
        return f"{_FOLDER}/{name}/index.md"
    return f"{_FOLDER}/{name}" if path.suffix in {".md", *_PICTURES} else f"{_FOLDER}/{name}.md"


def _listed(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _LANGUAGES]


def _file(path: Path, config: MkDocsConfig) -> File:
    if path.suffix in {".md", *_PICTURES}:
        return File.generated(config, _uri(path), abs_src_path=str(path))
    name = path.relative_to(_ROOT)
    if path.is_dir():
        text = "".join(f"- [{one.name}]({one.name}.md)\n" for one in _listed(path))
    else:
        text = f"~~~~~~ {_LANGUAGES.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8')}~~~~~~\n"
    # Their words would bury the pages in the search's answers.
    return File.generated(config, _uri(path), content=f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n{text}")
