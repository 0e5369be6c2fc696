"""What MkDocs adds to docs/: README, CONTRIBUTING and CHANGELOG as pages, every decision, the rest.

MkDocs calls the functions whose names begin with `on_` while it builds the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision, and every page that mkdocs.yml does not name, into the navigation."""
    docs = Path(config.docs_dir)
    nav: list[Any] = config.nav or []
    nav[-1] = {"Decisions": [f"adr/{path.name}" for path in sorted(docs.glob("adr/*.md"))]}
    named = set(pages_of(nav))
    rest = sorted(str(path.relative_to(docs)) for path in docs.rglob("*.md"))
    if more := [page for page in rest if page not in named]:
        nav.append({"More": more})
    config.nav = nav
    return config


def pages_of(nav: Any) -> list[str]:
    """The pages that a navigation names, at any depth."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in pages_of(entry)]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the repository's own pages, their links as seen from the site."""
    first = min(page for page in files.src_uris if page.startswith("adr/"))
    for source, page in PAGES.items():
        text = LINK.sub(lambda link: relocated(link, first), (ROOT / source).read_text("utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, config: MkDocsConfig, page: Page, files: Files) -> str:
    """Name what a page links to outside of docs/ without a link: the site does not have it."""
    here = (Path(config.docs_dir) / page.file.src_uri).parent

    def inside(link: re.Match[str]) -> str:
        target = (here / link[2]).resolve()
        is_page = page.file.generated_by is not None or target.is_relative_to(config.docs_dir)
        return link[0] if is_page else link[1]

    return LINK.sub(inside, markdown)


def relocated(link: re.Match[str], first_decision: str) -> str:
    """A link of a page at the repository's root; what the site lacks is named without a link."""
    text, target, anchor = link[1], link[2].rstrip("/"), link[3] or ""
    if target == "docs/adr":
        return f"[{text}]({first_decision})"
    if target in PAGES:
        return f"[{text}]({PAGES[target]}{anchor})"
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    return text
