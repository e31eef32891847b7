"""Which image of a folder belongs to which prompt.

Ways to say it:

- `metadata.jsonl` (or `metadata.csv`) in the folder: `file_name` and `prompt_id` (or `id`) or the
  prompt's text (`text`, `prompt` or `caption`), and `sample` if it has one;
- a folder per prompt: GenEval's layout `00000/samples/0000.png`, the folder being the line of the
  prompt set and its own `metadata.jsonl` naming the prompt, or `<prompt id or text>/<number>.png`;
- `<prompt id>_<sample>.png` (VISOR), or `<prompt text>_<number>.png` (T2I-CompBench);
- without a prompt set: captions, from `metadata.jsonl`, GenEval's folders, or a `.txt` beside each
  image. Images of one caption are samples of one prompt.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.files import read_json
from t2i_spatial.images import EXTENSIONS, is_image_file
from t2i_spatial.incoming import read_text
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.locations import inner_path
from t2i_spatial.numbering import natural_key, rank_samples
from t2i_spatial.progress import note
from t2i_spatial.prompts import read_scenes
from t2i_spatial.prompts.readers import find_format, id_text
from t2i_spatial.prompts.spreadsheet import read_rows
from t2i_spatial.scene import Prompt

TEXT_KEYS = ("text", "prompt", "caption")


class FoundImage(NamedTuple):
    """One image of the folder and the prompt it says it belongs to."""

    prompt_id: str
    sample: int
    path: Path


class _Said(NamedTuple):
    """What a name or record says: the sample may be open, and the prompt one of several."""

    prompt_ids: Sequence[str]
    sample: int | None
    path: Path


def find_images(folder: Path, prompts: Sequence[Prompt]) -> list[FoundImage]:
    """The images of a folder that belong to a prompt, in no particular order.

    Raises:
        InputError: none does, two are one sample, or the folder's metadata are broken.
    """
    seen: list[str] = []
    names = PromptNames.of(prompts)
    if (metadata := _metadata_file(folder)) is not None:
        said = list(_from_metadata(metadata, names, seen))
    elif any(_image_files(folder)) or not (folders := _prompt_folders(folder)):
        said = list(_from_names(folder, names, seen))
    else:
        said = list(_from_folders(folders, prompts, names, seen))
    if not said:
        what = f"the first of {len(seen)} is {seen[0]!r}" if seen else "there are no images in it"
        raise InputError(
            f"{folder}: no image belongs to a prompt ({what}); expected <prompt id>_<sample>.png "
            f"such as {prompts[0].id}_0.png, 00000/samples/0000.png, or a metadata.jsonl with "
            "file_name and prompt_id"
        )
    if seen:
        note(f"{len(seen)} images belong to no prompt and are not used, e.g. {seen[0]}")
    return _numbered(said, names)


def captioned_images(folder: Path) -> tuple[list[Prompt], list[FoundImage]]:
    """The captions of a folder as prompts, and their images.

    The id of a prompt is the name of its first image without its ending (of a GenEval folder, that
    of its record or the folder's name); further images of the same caption are its samples.

    Raises:
        InputError: there are no captions, or they cannot be read.
    """
    prompts: dict[str, Prompt] = {}
    images: dict[str, list[Path]] = defaultdict(list)
    for prompt, files in _captions(folder):
        if prompt.text.strip():
            prompts.setdefault(prompt.text, prompt)
            images[prompt.text] += files
    if not prompts:
        raise InputError(
            f"{folder} has no captions (metadata.jsonl, or a .txt beside each image); "
            "give the prompt set with --prompts"
        )
    total = sum(map(len, images.values()))
    if total > len(prompts):
        note(
            f"{total:,} images have {len(prompts):,} captions; images of one caption are samples "
            "of one prompt"
        )
    found = [
        FoundImage(prompts[text].id, sample, path)
        for text, files in images.items()
        for sample, path in enumerate(files)
    ]
    return read_scenes(prompts.values()), found


def _captions(folder: Path) -> Iterator[tuple[Prompt, list[Path]]]:
    if (metadata := _metadata_file(folder)) is not None:
        for where, record, file in _records(metadata):
            if not (text := _text(record)):
                raise InputError(f"{where}: no caption")
            yield Prompt(_inner_name(file, folder), text), [file]
        return
    files = _image_files(folder)
    for file in files:
        sidecar = file.with_suffix(".txt")
        if sidecar.is_file():
            yield Prompt(_stem(file), read_text(sidecar, "caption").strip()), [file]
    for inner in _prompt_folders(folder) if not files else ():
        own = _own_record(inner)
        if own is None:
            continue
        try:
            prompt = find_format(own).read(own, 0)
        except InputError as error:
            raise InputError(f"{inner / 'metadata.jsonl'}: {error}") from None
        if "id" not in own:
            prompt = replace(prompt, id=inner.name)
        yield prompt, [file for _, file in _samples(inner)]


def _image_files(folder: Path) -> list[Path]:
    """The images of a folder by their content, in the natural order of their names."""
    return sorted(
        (p for p in folder.iterdir() if not p.name.startswith(".") and is_image_file(p)),
        key=lambda path: natural_key(path.name),
    )


def _stem(file: Path) -> str:
    """The name without its ending; a name may hold a dot that begins none."""
    ending = file.suffix.lower()
    return file.stem if ending in EXTENSIONS or ending[1:].isalpha() else file.name


def _inner_name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_name(_stem(file)).as_posix()


def _text(record: Mapping[str, Any]) -> str | None:
    return next((str(record[key]) for key in TEXT_KEYS if record.get(key)), None)


# -- a file of metadata -------------------------------------------------------------------------


def _metadata_file(folder: Path) -> Path | None:
    places = (folder / name for name in ("metadata.jsonl", "metadata.csv"))
    return next((path for path in places if path.is_file()), None)


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any], Path]]:
    """Where a record stands, the record, and its file."""
    lines: Iterable[tuple[int, Any]]
    text = read_text(path)
    if path.suffix == ".csv":
        lines = read_rows(path, text)
    else:
        lines = ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    for number, line in lines:
        where = f"{path} line {number}"
        try:
            record = json.loads(line) if isinstance(line, str) else line
            name = record["file_name"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{where}: expected a JSON object with 'file_name' ({error})"
            ) from None
        file = inner_path(path.parent, str(name))
        if file is None:
            raise InputError(f"{where}: {name!r} leaves the folder")
        yield where, record, file


def _from_metadata(metadata: Path, names: PromptNames, seen: list[str]) -> Iterator[_Said]:
    known = {*names.ids, *names.lines}
    counts: dict[str, int] = defaultdict(int)
    for where, record, file in _records(metadata):
        given = next((record[k] for k in ("prompt_id", "id") if record.get(k) is not None), None)
        key = None if given is None else id_text(given)
        sample = record.get("sample")
        if isinstance(sample, str):
            sample = int(sample) if sample.strip().isdecimal() else (-1 if sample.strip() else None)
        if sample is not None and (
            isinstance(sample, bool) or not isinstance(sample, int) or sample < 0
        ):
            raise InputError(f"{where}: sample must be a whole number >= 0")
        stem = _inner_name(file, metadata.parent)
        ids = [str(key)] if key in known else names.by_text(_text(record) or "")
        ids = ids or ([stem] if stem in known else [])
        if len(ids) == 1:
            sample = counts[ids[0]] if sample is None else sample
            counts[ids[0]] += 1
        if ids:
            yield _Said(ids, sample, file)
        elif key is not None:
            raise InputError(
                f"{where}: unknown prompt id {key!r}; {nearest(key, sorted(names.ids)[:10])}"
            )
        else:
            seen.append(file.name)


# -- a folder per prompt ------------------------------------------------------------------------


def _prompt_folders(folder: Path) -> list[Path]:
    inner = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted(inner, key=lambda path: natural_key(path.name))


def _samples(folder: Path) -> list[tuple[int, Path]]:
    """The images of a prompt's folder with their numbers, or places where they are no numbers."""
    inner = folder / "samples"
    files = _image_files(inner if inner.is_dir() else folder)
    stems = [_stem(file) for file in files]
    if all(stem.isascii() and stem.isdecimal() for stem in stems):
        return [(int(stem), file) for stem, file in zip(stems, files, strict=True)]
    return list(enumerate(files))


def _own_record(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "metadata.jsonl"
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        if not isinstance(record["prompt"], str):
            raise TypeError("prompt must be text")
    except (InputError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a GenEval record ({error})") from None
    return dict(record)


def _from_folders(
    folders: Sequence[Path], prompts: Sequence[Prompt], names: PromptNames, seen: list[str]
) -> Iterator[_Said]:
    texts = {prompt.id: prompt.text for prompt in prompts}
    records = {folder: _own_record(folder) for folder in folders}
    if not any(records.values()):
        names = names.counted_from_one(folder.name for folder in folders)
    for folder in folders:
        record = records[folder]
        ids = _ids_of_folder(
            folder.name, None if record is None else record["prompt"], prompts, texts, names
        )
        files = _samples(folder)
        if not ids:
            seen += [f"{folder.name}/{file.name}" for _, file in files]
        for number, file in files:
            yield _Said(ids[:1], number, file) if ids else _Said((), None, file)


def _ids_of_folder(
    name: str,
    text: str | None,
    prompts: Sequence[Prompt],
    texts: Mapping[str, str],
    names: PromptNames,
) -> Sequence[str]:
    """The prompt of a folder: its id or line where the text is right, else the one of the text."""
    found = names.find(name)
    candidates = [found.prompt_id] if found is not None else []
    place = int(name) + names.shift if name.isascii() and name.isdecimal() else len(prompts)
    if 0 <= place < len(prompts) and not names.lines:
        candidates.append(prompts[place].id)
    for candidate in candidates:
        own = names.lines.get(candidate, (candidate, 0))[0]
        if text is None or texts[own] == text:
            return [candidate]
    return [] if text is None else names.by_text(text)


# -- names --------------------------------------------------------------------------------------


def _from_names(folder: Path, names: PromptNames, seen: list[str]) -> Iterator[_Said]:
    files = _image_files(folder)
    shifted = names.counted_from_one(map(_stem, files))
    if shifted is not names:
        first = next(iter(names.ids))
        note(f"the names of the images in {folder.name} count from 1: 1 is prompt {first}")
    for file in files:
        found = shifted.find(_stem(file))
        if found is None:
            seen.append(file.name)
        elif found.by_text:
            yield _Said(shifted.by_text(_text_part(file, found.sample)), None, file)
        else:
            yield _Said([found.prompt_id], found.sample or 0, file)


def _text_part(file: Path, sample: int | None) -> str:
    return _stem(file) if sample is None else _stem(file).rpartition("_")[0] or _stem(file)


# -- samples ------------------------------------------------------------------------------------


def _numbered(said: Iterable[_Said], names: PromptNames) -> list[FoundImage]:
    """Images with the sample of their prompt that each of them is.

    Those that only name a text are counted in the natural order of their names, and shared out
    where several prompts have it.

    Raises:
        InputError: two files for one sample.
    """
    counted: dict[tuple[str, ...], list[_Said]] = defaultdict(list)
    given: dict[tuple[str, int], Path] = {}

    def add(prompt_id: str, sample: int, path: Path) -> None:
        if (prompt_id, sample) in given:
            raise InputError(
                f"prompt {prompt_id!r} has two files for sample {sample}: "
                f"{given[prompt_id, sample].name} and {path.name}"
            )
        given[prompt_id, sample] = path

    for entry in said:
        if entry.sample is None and entry.prompt_ids:
            counted[tuple(entry.prompt_ids)].append(entry)
        elif entry.prompt_ids:
            add(entry.prompt_ids[0], entry.sample or 0, entry.path)
    for ids, entries in counted.items():
        taken = {sample for prompt_id, sample in given if prompt_id in ids}
        each = -(-len(entries) // len(ids))
        free = (n for n in range(len(entries) + len(taken)) if n not in taken)
        for place, entry in enumerate(sorted(entries, key=lambda e: natural_key(e.path.name))):
            several = len(ids) > 1
            add(ids[place // each], place % each if several else next(free), entry.path)
    keys = _merged(list(given), names)
    samples, told = rank_samples(keys)
    if told:
        note(told)
    return [
        FoundImage(prompt_id, sample, path)
        for (prompt_id, _), sample, path in zip(keys, samples, given.values(), strict=True)
    ]


def _merged(keys: Sequence[tuple[str, int]], names: PromptNames) -> list[tuple[str, int]]:
    """Images of lines that repeat a prompt as its further samples (see `prompts.repeats`)."""
    if not any(prompt_id in names.lines for prompt_id, _ in keys):
        return list(keys)
    place = {number: rank for rank, number in enumerate(sorted({number for _, number in keys}))}
    merged = []
    for prompt_id, number in keys:
        own, line = names.lines.get(prompt_id, (prompt_id, 0))
        merged.append((own, line * len(place) + place[number]))
    return merged
