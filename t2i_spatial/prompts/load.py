"""Prompt sets by name or from files, with a scene for every prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.files import read_table, scan_table
from t2i_spatial.locations import locate
from t2i_spatial.prompts.containers import (
    Located,
    folder_records,
    is_parquet,
    is_text_folder,
    plain_lines,
    read_records,
    read_text,
)
from t2i_spatial.prompts.parser import parse_prompt
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, find_format
from t2i_spatial.prompts.readers.caption import caption_format
from t2i_spatial.prompts.repeats import merge_repeats
from t2i_spatial.prompts.sr2d import sr2d
from t2i_spatial.scene import Prompt, SceneSpec, check_unique_ids

NAMES = ("sr2d",)
"""Prompt sets that are built in."""
MAX_COUNT = 10_000
"""Most of one kind of object that a record may ask for."""


def load_prompts(
    source: str | Path,
    *,
    format: str | None = None,
    column: str | None = None,
    delimiter: str | None = None,
    repeated: str = "auto",
    parse: bool = True,
) -> list[Prompt]:
    """A prompt set, by name or from a file or data set.

    Args:
        source: "sr2d"; a file (our own JSON lines, GenEval, GenEval 2, SpatialGenEval, SR2D, any
            JSON lines, JSON, CSV, TSV or Parquet file with a caption column, plain text with one
            prompt per line, `prompts.parquet` of a run); "-" for standard input; a folder of text
            files; a directory that `datasets` reads; or "hf:OWNER/NAME" or "hf:OWNER/NAME:SPLIT"
            for a data set of the Hugging Face hub.
        format: the record format, instead of recognising it; "text" for plain text.
        column: the column that holds the prompt; implies the format "caption".
        delimiter: of a CSV file, instead of finding it.
        repeated: what becomes of prompts that stand several times in the file, "auto", "merge" or
            "keep"; see `repeats.merge_repeats`.
        parse: read the scene of prompts that bring none from their text.

    Returns:
        The prompts in the order of the file. `unread` lists those the parser could not read.

    Raises:
        InputError: no such name or file, a broken line (says which), an empty prompt, a duplicate
            id, half a character (a lone surrogate), a count beyond `MAX_COUNT`, an unknown format,
            text that is not UTF-8, or no prompts at all.
    """
    if not str(source).strip():
        raise InputError("no prompt set is named: the name is empty")
    if str(source) in NAMES:
        return sr2d()
    if format is not None and format != "text" and format not in FORMATS:
        raise InputError(f"unknown prompt format {format!r}; {nearest(format, [*FORMATS, 'text'])}")
    if delimiter is not None and len(delimiter) != 1:
        raise InputError(f"a delimiter is one sign, got {delimiter!r}")
    prompts = _read(source, format, column, delimiter, repeated)
    if not prompts:
        raise InputError(f"no prompts in {source}")
    check_unique_ids(prompts)
    return read_scenes(prompts) if parse else prompts


def read_scenes(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Give every prompt without a scene the one the parser reads from its text.

    The tag of such a prompt, when it has none, becomes its relation if it has exactly one.
    """
    result = []
    for prompt in prompts:
        if prompt.scene is None:
            scene = _scene(prompt.text)
            tag = prompt.tag
            if tag is None and len(scene.relations) == 1:
                tag = scene.relations[0].relation
            prompt = dataclasses.replace(prompt, scene=scene, tag=tag)
        result.append(prompt)
    return result


def _scene(text: str) -> SceneSpec:
    """The scene of a text; one without any word (emoji, signs) is not read."""
    try:
        return parse_prompt(text)
    except InputError:
        if not text.strip():
            raise
        return SceneSpec(unparsed=(text.strip(),))


def unread(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The prompts with parts that the parser could not read, or without any object.

    >>> from t2i_spatial.scene import ObjectSpec, SceneSpec
    >>> unread([Prompt("0", "a cat", scene=SceneSpec((ObjectSpec("cat"),)))])
    []
    """
    return [p for p in prompts if p.scene is None or p.scene.unparsed or not p.scene.objects]


def told_unread(prompts: Sequence[Prompt], examples: int = 3) -> list[str]:
    """How many prompts could not be read fully, and some of them, a line each; empty when all were.

    >>> told_unread([Prompt("7", "hm", scene=SceneSpec(unparsed=("hm",)))])[1]
    "  7: 'hm' (not read: hm)"
    """
    partly = unread(prompts)
    if not partly:
        return []
    lines = [f"{len(partly)} of {len(prompts)} prompts could not be read fully, for example:"]
    for prompt in partly[:examples]:
        parts = "; ".join(prompt.scene.unparsed) if prompt.scene else ""
        lines.append(f"  {prompt.id}: {prompt.text!r} (not read: {parts or 'no object found'})")
    return lines


def _read(
    source: str | Path,
    format: str | None,
    column: str | None,
    delimiter: str | None,
    repeated: str,
) -> list[Prompt]:
    path = locate(source)
    records: Iterable[Located]
    if str(source).startswith("hf:") or (path.is_dir() and str(source) != "-"):
        records = _folder(str(source), path)
    elif not path.exists() and not path.suffix and path.name == str(source) and str(source) != "-":
        raise InputError(f"no prompt set or file {str(source)!r}; {nearest(str(source), NAMES)}")
    elif format == "text":
        records = plain_lines(path, read_text(path))
    else:
        if path.is_file() and is_parquet(path) and (own := _run_table(path)) is not None:
            return own
        records = read_records(path, delimiter=delimiter)
    fixed = None
    if column is not None:
        fixed = caption_format(column)
    elif format is not None and format != "text":
        fixed = FORMATS[format]
    located = [(number, _prompt(where, number, r, fixed)) for where, number, r in records]
    return merge_repeats([p for _, p in located], [number for number, _ in located], repeated)


def _folder(source: str, path: Path) -> Iterable[Located]:
    if not source.startswith("hf:") and is_text_folder(path):
        return folder_records(path)
    from t2i_spatial.prompts.hub import dataset_records

    return dataset_records(source)


def _prompt(where: str, number: int, record: Record, fixed: PromptFormat | None) -> Prompt:
    try:
        if not isinstance(record, dict):
            raise InputError(f"a prompt record must be a JSON object, got {type(record).__name__}")
        return _sound((fixed or find_format(record)).read(record, number))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except KeyError as error:
        raise InputError(f"{where}: no key {error.args[0]!r}") from None


def _sound(prompt: Prompt) -> Prompt:
    """The prompt, if a table can hold it.

    Raises:
        InputError: a count beyond `MAX_COUNT`, or half a character.
    """
    scene = prompt.scene or SceneSpec()
    for spec in scene.objects:
        if spec.count is not None and spec.count > MAX_COUNT:
            raise InputError(f"{spec.count} of {spec.name!r} are asked for; at most {MAX_COUNT:,}")
    try:
        f"{prompt.id}{prompt.text}{prompt.tag}{''.join(scene.names)}".encode()
    except UnicodeEncodeError:
        raise InputError("the prompt holds half a character (a lone surrogate)") from None
    return prompt


def _run_table(path: Path) -> list[Prompt] | None:
    """The prompts of a run's own table, or `None` when it is another Parquet file."""
    import polars as pl

    from t2i_spatial.tables import PROMPTS, table_to_prompts

    try:
        if set(scan_table(path).collect_schema()) != set(PROMPTS):
            return None
        return table_to_prompts(read_table(path))
    except FileNotFoundError:
        raise InputError(f"no such prompt file: {path}") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from None
