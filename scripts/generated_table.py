"""A table between two marks of a page of the documentation, rewritten or checked by a script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GeneratedTable:
    """Where a table stands and how it is made; `begin` tells readers of the page the script."""

    file: Path
    begin: str
    end: str
    make: Callable[[], str]

    def page(self, text: str) -> str:
        """The page with a current table."""
        before, rest = text.split(self.begin)
        return before + self.begin + self.make() + rest[rest.index(self.end) :]

    def main(self) -> int:
        """Write, or with `--check` say whether it is current."""
        text = self.file.read_text("utf-8")
        current = self.page(text)
        if "--check" in sys.argv[1:]:
            if current != text:
                print(f"{self.file} is not current: run python {sys.argv[0]}")
            return int(current != text)
        self.file.write_text(current, "utf-8")
        return 0
