"""Any training set -> examples: the form is found by what lies there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from t2i_spatial.errors import InputError
from t2i_spatial.training.data import Example
from t2i_spatial.training.sets.imagefolder import NAMES, find_metadata, read_metadata
from t2i_spatial.training.sets.packed import read_hub, read_parquet, read_webdataset
from t2i_spatial.training.sets.pairs import has_pairs, read_kohya, read_pairs

_FORMS = """what it may be:
  a folder with train/metadata.jsonl or metadata.jsonl (.csv, .parquet) beside its images
  a folder of images, each with a .txt of its name
  kohya's dataset TOML, or a folder with dataset.toml
  WebDataset: .tar files, or a folder of them
  Parquet with image bytes: .parquet files, or a folder of them
  what `datasets` saved to disk, or hf:OWNER/NAME[:SPLIT]"""


def read_training_set(
    source: str | Path, scratch: Path, captions: Sequence[str] = ()
) -> list[Example]:
    """The examples of a training set in any form that is known; see `docs/finetuning.md`.

    Args:
        source: a folder, a file, or "hf:OWNER/NAME[:SPLIT]".
        scratch: empty folder for images that lie inside other files; must outlast the examples.
        captions: names of the columns or values that hold captions.

    Raises:
        InputError: nothing of the kind is there, or it is broken (says where).
    """
    if str(source).startswith("hf:"):
        return read_hub(str(source), scratch, captions)
    path = Path(source)
    if path.is_file():
        if path.suffix in (".jsonl", ".csv") or path.name in NAMES:
            return read_metadata(path, captions)
        if path.suffix == ".toml":
            return _without_columns(captions, path) or read_kohya(path)
        if path.suffix == ".parquet":
            return read_parquet([path], scratch, captions)
        if ".tar" in path.suffixes or path.suffix == ".tgz":
            return read_webdataset([path], scratch, captions)
        raise InputError(f"{path} is no training set; {_FORMS}")
    if not path.is_dir():
        raise InputError(f"no such training set: {path}")
    if (metadata := find_metadata(path)) is not None:
        return read_metadata(metadata, captions)
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return read_hub(str(path), scratch, captions)
    if (path / "dataset.toml").is_file():
        return _without_columns(captions, path) or read_kohya(path / "dataset.toml")
    if shards := _files(path, "*.tar"):
        return read_webdataset(shards, scratch, captions)
    if tables := _files(path, "*.parquet"):
        return read_parquet(tables, scratch, captions)
    if has_pairs(path):
        return _without_columns(captions, path) or read_pairs(path)
    raise InputError(f"{path} has no train/metadata.jsonl and no other training set; {_FORMS}")


def _files(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder and the one below it, of several splits those of "train"."""
    found = sorted(folder.glob(pattern)) or sorted(folder.glob(f"*/{pattern}"))
    train = [path for path in found if "train" in (path.name + path.parent.name).lower()]
    return train if len(train) < len(found) and train else found


def _without_columns(captions: Sequence[str], path: Path) -> list[Example]:
    if captions:
        raise InputError(f"{path} has its captions in files; a caption column has no effect there")
    return []
