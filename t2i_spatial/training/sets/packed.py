"""Images inside other files: WebDataset, Parquet with bytes, data sets of `datasets`.

They are unpacked into a folder that lasts as long as the training; images are looked at by what is
in them, so the files need no ending.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, require
from t2i_spatial.images import EXTENSIONS
from t2i_spatial.training.data import Example
from t2i_spatial.training.sets.records import checked, example, parse_json

_AT_ONCE = 100
_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp")


def read_webdataset(
    shards: Sequence[Path], scratch: Path, captions: Sequence[str] = ()
) -> list[Example]:
    """The samples of tar shards: an image, and a caption in `.txt` or in the `.json`.

    Args:
        captions: names of values of the `.json`; by default the `.txt` is the caption, if there is
            one. `weight` and `objects` are taken from the `.json`.

    Raises:
        InputError: a broken archive, or a sample without image or caption (says which).
    """
    made: list[Example] = []
    for shard in shards:
        for key, files in _samples(shard):
            where = f"{shard}, {key}"
            pictures = [content for ending, content in files if f".{ending}" in EXTENSIONS]
            if len(pictures) != 1:
                raise InputError(f"{where}: {len(pictures)} images; one is needed")
            texts = {e: _text(c, f"{where}.{e}") for e, c in files if e in ("txt", "json")}
            record = parse_json(texts["json"], f"{where}.json") if "json" in texts else {}
            if not isinstance(record, dict):
                raise InputError(f"{where}.json: a mapping is expected")
            if "txt" in texts:
                record = (
                    {"text": texts["txt"].strip(), **record}
                    if captions
                    else {
                        **record,
                        "text": texts["txt"].strip(),
                    }
                )
            image = _unpacked(pictures[0], scratch, len(made))
            made.append(example(scratch, record, where, captions, image=image))
    return checked(made, shards[0].parent)


def _samples(shard: Path) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Neighbouring files of one name, as (ending, content)."""
    key, files = "", list[tuple[str, bytes]]()
    try:
        with tarfile.open(shard) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                if not stem:
                    continue  # .DS_Store and its kin
                own = f"{folder}/{stem}"
                if own != key and files:
                    yield key, files
                    files = []
                key = own
                content = archive.extractfile(member)
                files.append((ending.lower(), content.read() if content else b""))
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{shard} cannot be read: {error}") from None
    if files:
        yield key, files


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text ({error.reason})") from None


def read_parquet(
    files: Sequence[Path], scratch: Path, captions: Sequence[str] = ()
) -> list[Example]:
    """The rows of Parquet files with a column of images (bytes, or bytes and path) and captions.

    Raises:
        InputError: a broken file, no such column, or a row without image or caption.
    """
    made: list[Example] = []
    for file in files:
        try:
            table = pl.scan_parquet(file)
            column = _image_column(table.collect_schema(), file)
            number = 0
            while len(rows := table.slice(number, _AT_ONCE).collect()):
                for row in rows.iter_rows(named=True):
                    number += 1
                    where = f"{file}, row {number}"
                    image = _stored(row.pop(column), file.parent, scratch, len(made), where)
                    made.append(example(scratch, row, where, captions, image=image))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    return checked(made, files[0].parent)


def read_hub(source: str, scratch: Path, captions: Sequence[str] = ()) -> list[Example]:
    """The rows of "hf:OWNER/NAME", "hf:OWNER/NAME:SPLIT", or of what `save_to_disk` wrote.

    Without a split the one called "train" is taken, or the only one.

    Raises:
        InputError: the data set or split cannot be found, or has no column of images.
        MissingDependencyError: `datasets` is not installed.
    """
    datasets: Any = require("datasets", "train")
    name, _, split = (
        source.removeprefix("hf:").partition(":")
        if source[:3] == "hf:"
        else (
            source,
            "",
            "",
        )
    )
    try:
        loaded = (
            datasets.load_dataset(name, split=split or None)
            if source[:3] == "hf:"
            else datasets.load_from_disk(name)
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot load the data set {name!r}: {first}; without a network, download it "
            "elsewhere and give the path of its files"
        ) from None
    if isinstance(loaded, dict):
        if "train" not in loaded and len(loaded) != 1:
            raise InputError(
                f"the data set {name!r} has the splits {', '.join(loaded)}; say which, as "
                f"hf:{name}:SPLIT"
            )
        loaded = loaded["train"] if "train" in loaded else next(iter(loaded.values()))
    columns = [
        key for key, feature in loaded.features.items() if isinstance(feature, datasets.Image)
    ]
    if not columns:
        raise InputError(f"the data set {name!r} has no column of images")
    column = columns[0]
    loaded = loaded.cast_column(column, datasets.Image(decode=False))
    made: list[Example] = []
    for number, row in enumerate(loaded, 1):
        where = f"{name}, row {number}"
        image = _stored(row.pop(column), Path(), scratch, len(made), where)
        made.append(example(scratch, row, where, captions, image=image))
    return checked(made, name)


def _image_column(schema: Any, file: Path) -> str:
    def holds(kind: Any) -> bool:
        if isinstance(kind, pl.Struct):
            return any(field.name == "bytes" for field in kind.fields)
        return bool(kind == pl.Binary)

    found = [name for name, kind in schema.items() if holds(kind)]
    if not found:
        raise InputError(
            f"{file} has no column of image bytes; there is {', '.join(schema.names())}"
        )
    return next((name for name in _IMAGE_NAMES if name in found), found[0])


def _stored(value: Any, folder: Path, scratch: Path, number: int, where: str) -> Path:
    if isinstance(value, dict):
        if value.get("bytes") is None and isinstance(value.get("path"), str):
            return folder / str(value["path"])
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise InputError(f"{where}: no image")
    return _unpacked(value, scratch, number)


def _unpacked(content: bytes, scratch: Path, number: int) -> Path:
    path = scratch / f"image-{number:08}"
    path.write_bytes(content)
    return path
