"""The card of a training set: what is in it, and a name that changes with its content.

`datasets` keeps what it has loaded under the name of the folder and of the configuration: a second
set of the same names would give the first one's rows. So the configuration is called after the
content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def fingerprint(folder: Path) -> str:
    """16 hexadecimal digits that stand for the names and bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return digest.hexdigest()[:16]


def write_card(
    folder: Path, rows: pl.DataFrame, files: str, columns: Mapping[str, tuple[str | None, str]]
) -> None:
    """Write `README.md` for the finished files of a set.

    Args:
        rows: EXPORT.
        files: pattern of the data files in the folder.
        columns: name -> type (`None`: `datasets` finds it out) and meaning.
    """
    name = fingerprint(folder)
    size = len(rows)
    category = next((text for limit, text in _SIZES if size < limit), "100K<n<1M")
    mirrored = int(rows["mirrored"].sum())
    typed = [f"  - name: {n}\n    dtype: {t}\n" for n, (t, _) in columns.items() if t is not None]
    features = "  features:\n" + "".join(typed) if typed else ""
    table = "\n".join(f"| `{n}` | {meaning} |" for n, (_, meaning) in columns.items())
    info = f"dataset_info:\n  config_name: t2i_spatial_{name}\n{features}" if typed else ""
    card = f"""---
task_categories:
- text-to-image
size_categories:
- {category}
{info}configs:
- config_name: t2i_spatial_{name}
  default: true
  data_files:
  - split: train
    path: '{files}'
---

# Images whose spatial relations were checked

{size:,} images with captions, selected by t2i-spatial; {mirrored:,} of them are mirrored copies
with left and right swapped in the caption. Fingerprint of the content: `{name}`.

| column | meaning |
|---|---|
{table}

Do not flip images at random in training: the captions say left and right.
"""
    (folder / "README.md").write_text(card, "utf-8")
