"""Reading files of detections, whatever their format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.checks import check_detections
from t2i_spatial.errors import InputError
from t2i_spatial.files import json_lines_of, read_json, read_table
from t2i_spatial.incoming import read_bytes
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.fractions import in_pixels
from t2i_spatial.interchange.label_spelling import labels_of, matched_labels, renamed
from t2i_spatial.interchange.readers import Content, find_format
from t2i_spatial.interchange.repeated_rows import once
from t2i_spatial.interchange.samples import ranked, with_lines
from t2i_spatial.locations import locate
from t2i_spatial.tables import KEY


@dataclass(frozen=True)
class DetectionFiles:
    """Files of detections and how they are to be read; see `read_detections`."""

    paths: tuple[Path, ...]
    coco_images: Path | None = None
    classes: str | None = None
    repeated: str = "refuse"
    any_label: bool = False

    @property
    def name(self) -> str:
        """For messages and records."""
        return ", ".join(path.name for path in self.paths)

    def read(self, prompts: pl.DataFrame, known: pl.DataFrame | None = None) -> pl.DataFrame:
        """The DETECTIONS table for PROMPTS; `known` as in `read_detections`."""
        from t2i_spatial.interchange.class_numbers import read_classes

        return read_detections(
            self.paths,
            prompts,
            coco_images=self.coco_images,
            classes=None if self.classes is None else read_classes(self.classes),
            repeated=self.repeated,
            any_label=self.any_label,
            known=known,
        )


def read_detections(
    path: str | Path | Sequence[str | Path],
    prompts: pl.DataFrame,
    *,
    coco_images: str | Path | None = None,
    classes: Mapping[int, str] | None = None,
    repeated: str = "refuse",
    any_label: bool = False,
    known: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """A DETECTIONS table from files of any known format, recognised by their content.

    Our own Parquet or JSON lines, COCO and LVIS (a data set with annotations, or a results list
    with `coco_images`), VISOR's `results_*.json`, GenEval's `results.jsonl`, CSV or Parquet with
    one row per box, and Label Studio's JSON; further ones are registered in `readers.FORMATS`.

    Labels that are certainly a name of the prompts in another spelling are read as that name
    (`labels`). Sample numbers that are seeds or run over all images are ranked (`numbering`), the
    number staying in the image's name. Boxes in fractions of their images become pixels. All this
    is told on stderr.

    Args:
        path: the file, or several that hold different images.
        prompts: PROMPTS, to tell which prompt an image of a foreign format belongs to.
        coco_images: the COCO file with the images and categories of a results list.
        classes: class number -> name, for files whose labels are numbers.
        repeated: "refuse" an image that comes twice, or "once": rows that are the same in every
            value count once.
        any_label: accept a file none of whose labels is a name of the prompts.
        known: images of a run (KEY): sample numbers that fit them are left as they are.

    An empty file gives an empty table.

    Raises:
        InputError: no such file, an unknown format, a broken line (says which), wrong values (see
            `check_detections`), or labels none of which any prompt asks for.
    """
    if isinstance(path, Sequence) and not isinstance(path, str):
        paths = [locate(one) for one in path]
    else:
        paths = [locate(path)]
    what = paths[0].name if len(paths) == 1 else f"{len(paths)} files of detections"
    beside = None if coco_images is None else read_json(coco_images)
    parts = [_read(one, prompts, beside, classes) for one in paths]
    table = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")
    if not {*KEY, "detections"} <= set(table.columns):
        return check_detections(table, what)
    try:
        table = with_lines(table, PromptNames.of_table(prompts))
        table = ranked(once(table, what, repeated), what, known)
        table = check_detections(in_pixels(table, what), what)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what}: {str(error).splitlines()[0]}") from None
    numbered = {str(number): name for number, name in (classes or {}).items()}
    table = renamed(table, numbered)
    names = matched_labels(labels_of(table), prompts, what, any_label=any_label)
    return renamed(table, names)


def _read(
    path: Path, prompts: pl.DataFrame, coco_images: Any, classes: Mapping[int, str] | None
) -> pl.DataFrame:
    content = open_content(path, prompts, coco_images, classes)
    try:
        return find_format(content).read(content)
    except InputError:
        raise
    except (
        LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        # a record of another shape than its format says, somewhere in the file
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{path.name}: a record is not as its format wants it ({said})") from None


def open_content(
    path: Path,
    prompts: pl.DataFrame,
    coco_images: Any = None,
    classes: Mapping[int, str] | None = None,
) -> Content:
    """A file opened by what is in it.

    Raises:
        InputError: no such file, or one that is neither Parquet, CSV nor JSON.
    """
    beside: dict[str, Any] = {"coco_images": coco_images, "classes": classes}
    suffix = path.suffix.lower()
    if suffix == ".parquet" or (path.is_file() and _starts(path) == b"PAR1"):
        return Content(path, prompts, table=_parquet(path), **beside)
    if suffix in (".csv", ".tsv"):
        from t2i_spatial.incoming import read_text
        from t2i_spatial.prompts.spreadsheet import read_rows

        rows = [row for _, row in read_rows(path, read_text(path), tabs_first=suffix == ".tsv")]
        names = list(dict.fromkeys(name for row in rows for name in row))
        schema = dict.fromkeys(names, pl.String)
        return Content(path, prompts, table=pl.DataFrame(rows, schema=schema), **beside)
    text = _text(path)
    if suffix == ".json" or (text.lstrip()[:1] == "[" and suffix not in (".jsonl", ".ndjson")):
        document = _document(path, text)
        if isinstance(document, list):
            return Content(path, prompts, records=document, **beside)
        return Content(path, prompts, document=document, **beside)
    return Content(path, prompts, records=[r for _, r in json_lines_of(text, path)], **beside)


def _document(path: Path, text: str) -> Any:
    """JSON, or JSON lines that are called `.json`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("{") and "Extra data" in str(error):
            return [record for _, record in json_lines_of(text, path)]
        raise InputError(f"{path} cannot be read as JSON: {error}") from None


def _text(path: Path) -> str:
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None


def _starts(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError:
        return b""


def _parquet(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise InputError(f"no such file: {path}")
    if not path.is_file():
        raise InputError(f"{path} is no regular file, and Parquet cannot be read from a pipe")
    try:
        return read_table(path)
    except InputError as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from None
