"""Images that others made become a run: found by name, checked, never copied.

Four ways to say which image belongs to which prompt:

- `metadata.jsonl` in the folder: one JSON object per line with `file_name` and `prompt_id` (or
  `id`) or the prompt's text (`text`, `prompt` or `caption`), and `sample` if it has one;
- GenEval's layout: `00000/samples/0000.png`, the folder being the line of the prompt set and its
  own `metadata.jsonl` naming the prompt;
- `<prompt id>_<sample>.png` (VISOR), or `<prompt text>_<number>.png` (T2I-CompBench);
- without a prompt set: captions, from `metadata.jsonl` or from a `.txt` beside each image.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.images import EXTENSIONS, ImageUnreadableError, read_image
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.provenance import prompt_set_hash
from t2i_spatial.run import Run, writes_run
from t2i_spatial.scene import Prompt, check_unique_ids
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE, IMAGES, SCORED, prompts_to_table

TEXT_KEYS = ("text", "prompt", "caption")
_GENEVAL = re.compile(r"\d{5}")
_SAMPLE = re.compile(r"(.+)_(\d+)")


class FoundImage(NamedTuple):
    """One image of the folder and the prompt it says it belongs to."""

    prompt_id: str
    sample: int
    path: Path


@writes_run
def import_images(
    run: Run,
    images_dir: str | Path,
    prompts: Sequence[Prompt] | None = None,
    samples: int | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write `prompts.parquet` and `images.parquet` for a folder of images; paths are absolute.

    Every prompt must have every sample: what is missing or cannot be decoded is a row with that
    status and a reason.

    Args:
        prompts: the prompt set; `None` takes the captions of the folder and parses them.
        samples: images expected per prompt; `None` takes the sample numbers that occur.

    Raises:
        InputError: no such folder, no image that belongs to a prompt, a broken `metadata.jsonl`
            line, two files for one sample, or a path that leaves the folder.
        PlanMismatchError: the run was imported from elsewhere.
    """
    folder = Path(images_dir).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{images_dir} is not a folder")
    if samples is not None and samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}")
    if prompts is None:
        prompts = caption_prompts(folder)
    if not prompts:
        raise InputError("the prompt set is empty")
    check_unique_ids(prompts)
    found = _unique(find_images(folder, prompts))
    wanted = range(samples) if samples is not None else sorted({key[1] for key in found})
    surplus = sum(key[1] not in wanted for key in found)
    if surplus:
        note(f"{surplus} images beyond {samples} per prompt are not used")
    run.begin(
        "import",
        {
            "images": str(folder),
            "prompts": prompt_set_hash([(p.id, p.text) for p in prompts]),
            "samples": list(wanted),
        },
        overwrite=overwrite,
    )
    keys = [(prompt.id, sample) for prompt in prompts for sample in wanted]
    rows = list(_check([(key, found.get(key)) for key in keys], folder))
    table = pl.DataFrame(rows, schema=IMAGES)
    run.write_prompts(prompts_to_table(prompts))
    run.write_images(table)
    run.finish("import", statuses=dict(table["status"].value_counts().iter_rows()))


def find_images(folder: Path, prompts: Sequence[Prompt]) -> list[FoundImage]:
    """The images of a folder that belong to a prompt, in no particular order.

    Raises:
        InputError: none does, or `metadata.jsonl` is broken.
    """
    seen: list[str] = []
    if (folder / "metadata.jsonl").is_file():
        found = list(_from_metadata(folder, prompts, seen))
    elif geneval := sorted(
        p for p in folder.iterdir() if _GENEVAL.fullmatch(p.name) and (p / "samples").is_dir()
    ):
        found = list(_from_geneval(geneval, prompts))
    else:
        found = list(_from_names(folder, prompts, seen))
    if not found:
        what = f"the first of {len(seen)} is {seen[0]!r}" if seen else "there are no images in it"
        raise InputError(
            f"{folder}: no image belongs to a prompt ({what}); expected <prompt id>_<sample>.png "
            f"such as {prompts[0].id}_0.png, 00000/samples/0000.png, or a metadata.jsonl with "
            "file_name and prompt_id"
        )
    if seen:
        note(f"{len(seen)} images belong to no prompt and are not used, e.g. {seen[0]}")
    return found


def caption_prompts(folder: Path) -> list[Prompt]:
    """One prompt per captioned image of a folder; the id is the file name without its ending.

    Raises:
        InputError: there are no captions.
    """
    from t2i_spatial.prompts import parse_prompt

    captions: dict[str, str] = {}
    if (folder / "metadata.jsonl").is_file():
        for number, record, file in _metadata(folder):
            if not (text := _text(record)):
                raise InputError(f"{folder / 'metadata.jsonl'} line {number}: no caption")
            captions[_stem(file, folder)] = text
    else:
        for file in _image_files(folder):
            sidecar = file.with_suffix(".txt")
            if sidecar.is_file():
                captions[file.stem] = sidecar.read_text("utf-8", errors="replace").strip()
    if not captions:
        raise InputError(
            f"{folder} has no captions (metadata.jsonl, or a .txt beside each image); "
            "give the prompt set with --prompts"
        )
    return [
        Prompt(key, text, scene=parse_prompt(text))
        for key, text in captions.items()
        if text.strip()
    ]


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".") and p.is_file()
    )


def _stem(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _text(record: dict[str, Any]) -> str | None:
    return next((str(record[key]) for key in TEXT_KEYS if record.get(key)), None)


def _metadata(folder: Path) -> Iterator[tuple[int, dict[str, Any], Path]]:
    path = folder / "metadata.jsonl"
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name = record["file_name"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} line {number}: expected a JSON object with 'file_name' ({error})"
            ) from None
        file = Path(os.path.normpath(folder / str(name)))
        if not file.is_relative_to(folder):
            raise InputError(f"{path} line {number}: {name!r} leaves the folder")
        yield number, record, file


def _from_metadata(
    folder: Path, prompts: Sequence[Prompt], seen: list[str]
) -> Iterator[FoundImage]:
    ids, by_text = {p.id for p in prompts}, _by_text(prompts)
    counts: dict[str, int] = {}
    for number, record, file in _metadata(folder):
        given = record.get("prompt_id", record.get("id"))
        key = str(given) if given is not None else None
        if key not in ids:
            stem = _stem(file, folder)
            text = _text(record)
            key = by_text.get(text or "") or (stem if stem in ids else None)
        if key is None:
            if given is not None:
                raise InputError(
                    f"{folder / 'metadata.jsonl'} line {number}: unknown prompt id "
                    f"{str(given)!r}; {nearest(str(given), sorted(ids)[:10])}"
                )
            seen.append(file.name)
            continue
        sample = record.get("sample", counts.get(key, 0))
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
            raise InputError(
                f"{folder / 'metadata.jsonl'} line {number}: sample must be a whole number >= 0"
            )
        counts[key] = counts.get(key, 0) + 1
        yield FoundImage(key, sample, file)


def _from_geneval(folders: Iterable[Path], prompts: Sequence[Prompt]) -> Iterator[FoundImage]:
    by_text = _by_text(prompts)
    for folder in folders:
        line = int(folder.name)
        key = prompts[line].id if line < len(prompts) else None
        metadata = folder / "metadata.jsonl"
        if metadata.is_file():
            try:
                text = str(json.loads(metadata.read_text("utf-8"))["prompt"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{metadata}: not a GenEval record ({error})") from None
            if key is None or prompts[line].text != text:
                key = by_text.get(text)
        if key is None:
            note(f"{folder.name}: its prompt is not in the prompt set, not used")
            continue
        for position, file in enumerate(_image_files(folder / "samples")):
            yield FoundImage(key, int(file.stem) if file.stem.isdecimal() else position, file)


def _from_names(folder: Path, prompts: Sequence[Prompt], seen: list[str]) -> Iterator[FoundImage]:
    ids, by_text = {p.id for p in prompts}, _by_text(prompts)
    numbered: dict[str, list[tuple[int, Path]]] = {}
    for file in _image_files(folder):
        match = _SAMPLE.fullmatch(file.stem)
        if match and match[1] in ids:
            yield FoundImage(match[1], int(match[2]), file)
        elif file.stem in ids:
            yield FoundImage(file.stem, 0, file)
        elif match and match[1] in by_text:
            numbered.setdefault(by_text[match[1]], []).append((int(match[2]), file))
        else:
            seen.append(file.name)
    for key, files in numbered.items():
        for sample, (_, file) in enumerate(sorted(files)):
            yield FoundImage(key, sample, file)


def _by_text(prompts: Sequence[Prompt]) -> dict[str, str]:
    return {prompt.text: prompt.id for prompt in reversed(prompts)}


def _unique(images: Iterable[FoundImage]) -> dict[tuple[str, int], Path]:
    found: dict[tuple[str, int], Path] = {}
    for prompt_id, sample, path in images:
        if (prompt_id, sample) in found:
            raise InputError(
                f"prompt {prompt_id!r} has two files for sample {sample}: "
                f"{found[prompt_id, sample].name} and {path.name}"
            )
        found[prompt_id, sample] = path
    return found


def _check(
    expected: Sequence[tuple[tuple[str, int], Path | None]], folder: Path
) -> Iterator[dict[str, Any]]:
    """Decode every image once, in threads: only then is it known to be readable."""
    with (
        ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool,
        progress_bar(len(expected), "check images") as bar,
    ):
        for row in pool.map(lambda entry: _row(entry[0], entry[1], folder), expected):
            bar.update(1)
            yield row


def _row(key: tuple[str, int], path: Path | None, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt_id": key[0], "sample": key[1]}
    if path is None or not path.exists():
        name = path.name if path else f"prompt {key[0]!r} sample {key[1]}"
        return row | {"status": IMAGE_MISSING, "reason": f"{name}: no image in {folder.name}"}
    row["image"] = str(path)
    try:
        width, height = read_image(path).size
    except ImageUnreadableError as error:
        return row | {"status": IMAGE_UNREADABLE, "reason": str(error)}
    return row | {"width": width, "height": height, "status": SCORED}
