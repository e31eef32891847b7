"""Images that others made become a run: found by name, checked, never copied.

Which image belongs to which prompt is told in `stages.folder_images`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.locations import locate
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.provenance import prompt_set_hash
from t2i_spatial.run import Run, writes_run
from t2i_spatial.scene import Prompt, check_unique_ids
from t2i_spatial.stages.folder_images import captioned_images, find_images
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE, IMAGES, SCORED, prompts_to_table


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
    folder = locate(images_dir).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{images_dir} is not a folder")
    if samples is not None and samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}")
    captioned = prompts is None
    if prompts is None:
        prompts, images = captioned_images(folder)
    else:
        if not prompts:
            raise InputError("the prompt set is empty")
        images = find_images(folder, prompts)
    check_unique_ids(prompts)
    found = {(image.prompt_id, image.sample): image.path for image in images}
    wanted = range(samples) if samples is not None else sorted({key[1] for key in found})
    if (shown := len({key[0] for key in found})) < len(prompts):
        note(
            f"{shown:,} of {len(prompts):,} prompts have an image; all of the others count as "
            "missing (is this the prompt set that the images were made from?)"
        )
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
    if captioned and samples is None:  # captions name the images that there are
        keys = [key for key in keys if key in found]
    _tell_absent(prompts, keys, found)
    rows = list(_check([(key, found.get(key)) for key in keys], folder))
    table = pl.DataFrame(rows, schema=IMAGES)
    run.write_prompts(prompts_to_table(prompts))
    run.write_images(table)
    run.finish("import", statuses=dict(table["status"].value_counts().iter_rows()))


def _tell_absent(
    prompts: Sequence[Prompt],
    keys: Sequence[tuple[str, int]],
    found: Mapping[tuple[str, int], Path],
) -> None:
    """Say so when most prompts have no image: the prompt set may be another or too large."""
    shown = {prompt_id for prompt_id, _ in found}
    if 2 * len(shown) < len(prompts):
        lost = sum(key not in found for key in keys)
        note(
            f"only {len(shown):,} of {len(prompts):,} prompts have images; the {lost:,} others "
            "that the prompt set asks for count as missing. A set of the prompts that were made: "
            "t2i-spatial prompts SET --limit N -o FILE"
        )


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
