"""Writing a prompt set in our own format, one JSON record per line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from t2i_spatial.scene import Prompt


def prompt_line(prompt: Prompt) -> str:
    """One line of a prompt file, without the line end.

    >>> prompt_line(Prompt("0", "a cat"))
    '{"id": "0", "text": "a cat"}'
    """
    return json.dumps(prompt.to_dict(), ensure_ascii=False)


def write_prompts(prompts: Iterable[Prompt], path: str | Path) -> None:
    """Write a prompt file that appears complete or not at all; `load_prompts` reads it back.

    Raises:
        T2ISpatialError: the file cannot be written.
    """
    from t2i_spatial.files import atomic_write

    with atomic_write(path, "w") as file:
        for prompt in prompts:
            file.write(prompt_line(prompt) + "\n")
