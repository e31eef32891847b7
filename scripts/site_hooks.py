"""What the documentation site needs beyond docs/: the pages of the root, and the reference.

mkdocs calls these (see mkdocs.yml). Links to files outside docs/ that are no pages, such as code,
become plain text: the site has no copy of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
ROOT_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?!https?:|#|mailto:)[^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    name = page.file.src_uri
    if name == "reference.md":
        modules = re.findall(r"^\| `([\w.]+)` \|", markdown, re.MULTILINE)
        markdown += "".join(f"\n\n::: {module}\n" for module in modules)
    folder = "" if name in ROOT_PAGES else "docs/" + str(Path(name).parent) + "/"

    def to_site(match: re.Match[str]) -> str:
        text, link = match.groups()
        path, _, anchor = link.partition("#")
        target = (ROOT / folder / path).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return match.group()  # mkdocs says that it is broken
        place = target.relative_to(ROOT).as_posix()
        if place not in ROOT_PAGES and not place.startswith("docs/"):
            return text
        up = "../" * name.count("/")
        return f"[{text}]({up}{place.removeprefix('docs/')}{'#' if anchor else ''}{anchor})"

    markdown = LINK.sub(to_site, markdown)
    return markdown.replace("](docs/images/", "](images/")
