"""Writing GenEval's files: `results.jsonl`, and its folder of images.

Source: djghosh13/geneval @ af4902f (`evaluate_images.py`, `summary_scores.py`).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write, copy_file
from t2i_spatial.interchange.readers.geneval_results import COLORED
from t2i_spatial.locations import is_url, require_local
from t2i_spatial.metrics.geneval import GenEval
from t2i_spatial.metrics.tabular import CORNERS
from t2i_spatial.run import Run
from t2i_spatial.tables import SCORED


def write_geneval(
    path: str | Path,
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    protocol: GenEval | None = None,
) -> int:
    """Write `results.jsonl` as GenEval does, from DETECTIONS; returns the number of lines.

    `summary_scores.py` of GenEval reads it. Images without a score and prompts that GenEval cannot
    judge are left out. Boxes are those that decided: above the protocol's threshold, at most
    its number of a class, and none that it suppressed.

    Raises:
        T2ISpatialError: the file cannot be written.
    """
    protocol = protocol or GenEval()
    verdicts = protocol.judge(prompts, detections)
    records = _records(prompts)
    used: dict[int, list[dict[str, Any]]] = {}
    for found in protocol.boxes_used(prompts, detections).iter_rows(named=True):
        used.setdefault(found["row"], []).append(found)
    lines = 0
    with atomic_write(path, "w") as file:
        for at, (row, verdict) in enumerate(
            zip(detections.iter_rows(named=True), verdicts.iter_rows(named=True), strict=True)
        ):
            if verdict["status"] != SCORED:
                continue
            number, record = records[row["prompt_id"]]
            details: dict[str, list[list[float]]] = {}
            colors: dict[str, list[str | None]] = {}
            for found in used.get(at, ()):
                details.setdefault(found["label"], []).append(
                    [*(found[corner] for corner in CORNERS), found["score"]]
                )
                colors.setdefault(found["label"], []).append(found["color"])
            line = {
                "filename": f"{number:05d}/samples/{row['sample']:04d}.png",
                "tag": verdict["tag"],
                "prompt": record["prompt"],
                "correct": verdict["correct"],
                "reason": "" if verdict["correct"] else verdict["reason"],
                "metadata": json.dumps(record),
                "details": json.dumps(details),
            }
            if any(color is not None for seen in colors.values() for color in seen):
                line[COLORED] = json.dumps(colors)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            lines += 1
    return lines


def export_folder(run: Run, output: str | Path, *, copy: bool = False) -> int:
    """Lay the images of a run out as GenEval expects them; returns the number of images.

    `<output>/<5 digits>/metadata.jsonl` and `samples/<4 digits>.png`, the number being the place
    of the prompt in its set. Images are hard links where possible (`copy` never links). Missing
    images leave a gap in the numbers, which GenEval does not notice.

    Raises:
        InputError: `output` exists and is not empty.
        T2ISpatialError: a file cannot be written.
    """
    target = require_local(output, "a folder for GenEval", "copy it there afterwards")
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target} is not empty; choose another folder")
    records = _records(run.prompts())
    done = 0
    for number, record in records.values():
        folder = target / f"{number:05d}"
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "metadata.jsonl", "w") as file:
            file.write(json.dumps(record, ensure_ascii=False))
    for row in run.images().iter_rows(named=True):
        if row["status"] != SCORED:
            continue
        source = run.image_path(row["image"])
        folder = target / f"{records[row['prompt_id']][0]:05d}" / "samples"
        place = folder / f"{row['sample']:04d}{source.suffix}"
        if is_url(source):
            copy_file(source, place)
        elif copy or not _link(source, place):
            shutil.copyfile(source, place)
        done += 1
    return done


def _link(source: Path, place: Path) -> bool:
    try:
        os.link(source, place)
    except OSError:
        return False
    return True


def _records(prompts: pl.DataFrame) -> dict[str, tuple[int, dict[str, Any]]]:
    """Prompt id -> (place in the set, GenEval's record of it), made from the scene if need be."""
    from t2i_spatial.metrics.clauses import requests

    asked = requests(prompts)
    include = asked.include.partition_by("prompt_id", as_dict=True)
    exclude = asked.exclude.partition_by("prompt_id", as_dict=True)
    records = {}
    for number, row in enumerate(prompts.iter_rows(named=True)):
        content = json.loads(row["metadata"]) if row["metadata"] else {}
        record = content.get("geneval", content if "include" in content else None)
        if record is None:
            key = (row["prompt_id"],)
            record = {
                "tag": row["tag"],
                "include": _clauses(include[key]) if key in include else [],
            }
            if key in exclude:
                record["exclude"] = [
                    {"class": e["label"], "count": e["count"]}
                    for e in exclude[key].iter_rows(named=True)
                ]
            record["prompt"] = row["text"]
        records[row["prompt_id"]] = (number, {"prompt": row["text"], **record})
    return records


def _clauses(table: pl.DataFrame) -> list[dict[str, Any]]:
    """GenEval wants the target of a position before the clause that refers to it."""
    rows = sorted(table.iter_rows(named=True), key=lambda r: (r["target"] is not None, r["clause"]))
    place = {row["clause"]: k for k, row in enumerate(rows)}
    clauses = []
    for row in rows:
        clause: dict[str, Any] = {"class": row["label"], "count": row["count"]}
        if row["wanted"]:
            clause["color"] = row["wanted"]
        if row["relation"]:
            clause["position"] = [row["relation"], place[row["target"]]]
        clauses.append(clause)
    return clauses
