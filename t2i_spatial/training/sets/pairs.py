"""Images with a text file of the same name beside them, in a folder or as kohya's TOML lists them.

Source of the TOML: kohya-ss/sd-scripts @ 036907e, `docs/config_README-en.md`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.images import EXTENSIONS
from t2i_spatial.progress import note
from t2i_spatial.training.data import Example
from t2i_spatial.training.sets.records import checked, example, parse_json, read_lines

_KOHYA_EXTENSION = ".caption"
_UNHEEDED = ("flip_aug", "random_crop", "shuffle_caption", "color_aug")


def has_pairs(folder: Path) -> bool:
    """Whether an image with a caption file lies in the folder or below."""
    return any(path.with_suffix(".txt").is_file() for path in _images(folder))


def read_pairs(folder: Path) -> list[Example]:
    """The images of a folder and its sub-folders with the text of the `.txt` beside each.

    Raises:
        InputError: images without a text (says how many), or too few of them.
    """
    made = _examples(folder, _images(folder), ".txt")
    return checked([example for example, _ in made], folder)


def read_kohya(path: Path) -> list[Example]:
    """The images of all subsets of a dataset TOML; one that is repeated n times weighs n times.

    Image folders are relative to the TOML's own. Captions are those of the files
    (`caption_extension`), of `metadata_file`, or `class_tokens`; with `enable_wildcard` every line
    of a file is a caption of its own. What would flip, crop or shuffle is not done, and told.

    Raises:
        InputError: a broken TOML, a subset without images, or an image without a caption.
    """
    try:
        config = tomllib.loads("\n".join(read_lines(path)))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from None
    made: list[Example] = []
    for options in _subsets(config, path):
        if asked := [name for name in _UNHEEDED if options.get(name)]:
            note(f"{path.name}: {', '.join(asked)} is not done; captions say where things are")
        made += _subset(options, path)
    return checked(made, path)


def _subsets(config: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Options of each subset, with those of its data set and the general ones."""
    general = config.get("general") or {}
    found = False
    for dataset in config.get("datasets") or ():
        shared = {key: value for key, value in dataset.items() if key != "subsets"}
        for subset in dataset.get("subsets") or ():
            found = True
            yield {**general, **shared, **subset}
    if not found:
        raise InputError(f"{path} has no [[datasets.subsets]]; it is not a kohya dataset TOML")


def _subset(options: Mapping[str, Any], path: Path) -> list[Example]:
    repeats = options.get("num_repeats", 1)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 0:
        raise InputError(f"{path}: num_repeats {repeats!r} is not a whole number >= 0")
    folder = options.get("image_dir")
    metadata = options.get("metadata_file")
    if metadata is not None:
        return _from_metadata(path, path.parent / str(metadata), folder, repeats)
    if not isinstance(folder, str):
        raise InputError(f"{path}: a subset needs image_dir or metadata_file")
    root = path.parent / folder
    images = list(_images(root, below=False))
    if not images:
        raise InputError(f"{path}: image_dir {folder!r} has no images")
    extension = str(options.get("caption_extension", _KOHYA_EXTENSION))
    made = _examples(
        root,
        images,
        extension,
        instead=options.get("class_tokens"),
        one_per_line=bool(options.get("enable_wildcard")),
        first_line=True,
        repeats=repeats,
    )
    before, after = options.get("caption_prefix"), options.get("caption_suffix")
    return [
        _joined(item, None if token else before, None if token else after) for item, token in made
    ]


def _joined(item: Example, before: Any, after: Any) -> Example:
    texts = [" ".join(str(p) for p in (before, text, after) if p) for text in item.captions]
    return Example(item.path, texts[0], item.weight, item.objects, tuple(texts[1:]))


def _from_metadata(path: Path, metadata: Path, folder: Any, repeats: int) -> list[Example]:
    """kohya's fine-tuning metadata: image path -> caption and tags."""
    known = parse_json("\n".join(read_lines(metadata)), str(metadata))
    if not isinstance(known, dict):
        raise InputError(f"{metadata}: image paths with their captions are expected")
    root = path.parent / folder if isinstance(folder, str) else metadata.parent
    made = []
    for name, entry in known.items():
        where = f"{metadata}, {name!r}"
        entry = entry if isinstance(entry, dict) else {}
        parts = [entry[key] for key in ("caption", "tags") if entry.get(key)]
        image = _with_ending(root / name)
        text = ", ".join(str(part) for part in parts)
        made.append(example(root, {"text": text or None, "weight": repeats}, where, image=image))
    return made


def _with_ending(path: Path) -> Path:
    """kohya names images without their ending, too."""
    if path.is_file():
        return path
    return next((f for e in EXTENSIONS if (f := path.with_name(path.name + e)).is_file()), path)


def _images(folder: Path, *, below: bool = True) -> Iterator[Path]:
    pattern = "**/*" if below else "*"
    return (path for path in sorted(folder.glob(pattern)) if path.suffix.lower() in EXTENSIONS)


def _examples(
    root: Path,
    images: Any,
    extension: str,
    *,
    instead: Any = None,
    one_per_line: bool = False,
    first_line: bool = False,
    repeats: int = 1,
) -> list[tuple[Example, bool]]:
    """Examples, each with whether its caption is `instead` of a file."""
    made = []
    without = []
    for image in images:
        file = image.with_suffix(extension)
        if file.is_file():
            lines = [line.strip() for line in read_lines(file) if line.strip()]
            if first_line and not one_per_line:
                lines = lines[:1]
            texts = lines if one_per_line else [" ".join(lines)]
        else:
            texts = [instead] if isinstance(instead, str) else []
        if not any(texts):
            without.append(image.name)
            continue
        record = {"text": texts, "weight": repeats}
        made.append((example(root, record, str(file), image=image), not file.is_file()))
    if without:
        raise InputError(
            f"{len(without)} of {len(without) + len(made)} images of {root} have no caption "
            f"({extension}): {', '.join(without[:3])}{' ...' if len(without) > 3 else ''}"
        )
    return made
