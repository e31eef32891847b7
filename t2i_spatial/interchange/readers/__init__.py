"""Formats of detection files, one module each.

A file is opened once, by its content: Parquet or CSV is a table, JSON lines or a JSON list are
records, any other JSON is a document. A format turns one of these into a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.registry import Registry
from t2i_spatial.tables import DETECTIONS

FOUND = pl.Schema(
    [(name, pl.Int64() if name == "sample" else kind) for name, kind in DETECTIONS.items()]
)
"""DETECTIONS as a format gives it: sample numbers may be seeds."""


@dataclass(frozen=True)
class Content:
    """A detection file as it was opened, and what is known beside it.

    Attributes:
        path: the file, for messages.
        prompts: PROMPTS that the images belong to.
        records: of JSON lines or of a JSON list, else `None`.
        document: any other JSON.
        table: of Parquet, or of CSV (all texts).
        coco_images: content of the COCO file that was given for a list of results.
        classes: class number -> name, where the user says what numbers mean.
    """

    path: Path
    prompts: pl.DataFrame
    records: list[Any] | None = None
    document: Any = None
    table: pl.DataFrame | None = None
    coco_images: Any = None
    classes: Mapping[int, str] | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name

    @property
    def first(self) -> Mapping[str, Any]:
        """The first record; empty when there are none."""
        first = self.records[0] if self.records else None
        return first if isinstance(first, Mapping) else {}

    def key(self, names: PromptNames, name: str, where: str) -> tuple[str, int | None]:
        """Prompt id and sample that the name of an image gives.

        Raises:
            InputError: it belongs to no prompt, or may belong to two.
        """
        stem = Path(name.replace("\\", "/")).name
        stem = stem.rpartition(".")[0] or stem if _has_ending(stem) else stem
        found = names.find(stem)
        if found is None:
            raise InputError(
                f"{where}: image {name!r} belongs to no prompt; expected file names "
                "<prompt id>_<sample>.png, or the keys prompt_id and sample"
            )
        if found.either:
            raise InputError(
                f"{where}: {stem!r} may be the prompt {stem!r} or sample {found.sample} of "
                f"{found.prompt_id!r}; give the images the keys prompt_id and sample"
            )
        return found.prompt_id, found.sample


def _has_ending(name: str) -> bool:
    ending = name.rpartition(".")[2]
    return 2 <= len(ending) <= 5 and ending.isalnum() and not ending.isdecimal()


@dataclass(frozen=True, slots=True)
class DetectionFormat:
    """How files of one kind are recognised and read.

    Attributes:
        matches: whether a file is of this kind; the kinds exclude each other.
        read: the file as a table of the schema `FOUND` (columns may lack). Labels, repeated images,
            sample numbers and boxes are then looked at for all formats together.
        title: for messages and help.
        fallback: asked only when no other format matches.
    """

    matches: Callable[[Content], bool]
    read: Callable[[Content], pl.DataFrame]
    title: str
    fallback: bool = False


FORMATS: Registry[DetectionFormat] = Registry(
    "detection format", "t2i_spatial.interchange.readers", instance=DetectionFormat
)


def find_format(content: Content) -> DetectionFormat:
    """The format that a file is written in.

    Raises:
        InputError: none of the known ones.
    """
    for fallback in (False, True):
        for name in FORMATS:
            candidate = FORMATS[name]
            if candidate.fallback is fallback and candidate.matches(content):
                return candidate
    known = ", ".join(FORMATS[name].title for name in FORMATS)
    raise InputError(f"{content.name}: not a known format of detections ({known})")
