"""Writes the tables of docs/configuration.md from the settings.

python scripts/write_configuration.py
"""

from __future__ import annotations

from pathlib import Path

from t2i_spatial.stages.config_reference import key_tables

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
HEADING = "## Keys\n\n"


def page(text: str) -> str:
    """The page with the tables of today below its heading."""
    return text[: text.index(HEADING) + len(HEADING)] + key_tables() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
