"""Prompt sets of the Hugging Face hub, or data sets on disk, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError, require
from t2i_spatial.prompts.containers import Located


def dataset_records(source: str) -> Iterator[Located]:
    """The rows of a data set: "hf:OWNER/NAME", "hf:OWNER/NAME:SPLIT", or a directory.

    A directory may hold what `save_to_disk` wrote, or data files. Without a split the only one is
    taken, or "test". Image and audio columns are not decoded and left out.

    Raises:
        InputError: the data set or split cannot be found or read.
        MissingDependencyError: `datasets` is not installed.
    """
    datasets: Any = require("datasets", "train")
    name, _, split = (
        source.removeprefix("hf:").partition(":") if source[:3] == "hf:" else (source, "", "")
    )
    path = Path(source)
    try:
        if path.is_dir() and any(
            (path / file).is_file() for file in ("state.json", "dataset_dict.json")
        ):
            loaded = datasets.load_from_disk(source)
        else:
            loaded = datasets.load_dataset(name, split=split or None)
    except (OSError, ValueError, LookupError, datasets.exceptions.DatasetsError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot load the data set {name!r}: {first_line}; without a network, download it "
            "elsewhere and give the path of its files"
        ) from None
    if isinstance(loaded, dict):
        if len(loaded) != 1 and "test" not in loaded:
            raise InputError(
                f"the data set {name!r} has the splits {', '.join(loaded)}; say which, as "
                f"hf:{name}:SPLIT"
            )
        loaded = loaded["test"] if "test" in loaded else next(iter(loaded.values()))
    plain = [
        column
        for column, feature in loaded.features.items()
        if not hasattr(feature, "decode_example") or isinstance(feature, datasets.ClassLabel)
    ]
    for number, row in enumerate(loaded.select_columns(plain)):
        yield f"{name}, row {number + 1}", number, row
