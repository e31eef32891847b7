"""The images of a run and what people said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import read_table
from t2i_spatial.labels.people import Truth, questions_for, truth_of, whole_question
from t2i_spatial.labels.picking import PICKS
from t2i_spatial.labels.records import NO, UNSURE, YES, label_files, last_words, read_labels
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages import contents
from t2i_spatial.tables import KEY, SCORED, conform, table_to_prompts

PICKED = "labels/picks.parquet"
FIELDS = tuple(f.name for f in fields(Truth))
FEWEST = 50
"""Labels below which there is no audit: intervals of so few do not hold what they promise."""


@dataclass(frozen=True)
class Labelled:
    """What is known of a run from people.

    Attributes:
        images: `prompt_id, sample, image` of every image that exists.
        truths: `prompt_id, sample, pi` and the fields of `Truth` of the labelled ones.
        labels: the labels that count, one per image, question and annotator.
        files: where they came from.
    """

    images: pl.DataFrame
    truths: pl.DataFrame
    labels: pl.DataFrame
    files: tuple[Path, ...]


def existing_images(run: Run) -> pl.DataFrame:
    """`prompt_id, sample, image` of the images that can be looked at.

    A run of stored boxes has no pictures: its images are those that have boxes.
    """
    table = run.images() if run.has("images.parquet") else run.detections()
    return table.filter(pl.col("status") == SCORED).select(*KEY, "image")


def read_picks(run: Run) -> pl.DataFrame:
    """The PICKS table of a run, empty when nothing was picked."""
    path = run.path / PICKED
    return conform(read_table(path), PICKS, PICKED) if path.exists() else pl.DataFrame(schema=PICKS)


def has_labels(run: Run) -> bool:
    """Whether somebody has labelled images of this run."""
    return any(path.stat().st_size for path in label_files(run.path))


def read_labelled(
    run: Run, files: Sequence[Path] = (), *, assume_uniform: bool = False
) -> Labelled:
    """Labels of a run, matched to its images and checked.

    Args:
        files: label files; by default those of the run.
        assume_uniform: labels without a probability were made on images chosen by chance.

    Raises:
        InputError: no labels; labels of images, questions or pictures that are not this run's; or
            no probability of having been chosen.
    """
    paths = tuple(files) or tuple(label_files(run.path))
    if not paths:
        raise InputError(
            f"{run.path} has no labels yet; pick images with `t2i-spatial audit pick`, label them "
            "in `t2i-spatial view`, or import labels with `t2i-spatial audit import`"
        )
    images = existing_images(run)
    labels = last_words(_of_images(read_labels(paths), images))
    _refuse_other_questions(labels, run)
    _refuse_other_pictures(labels, run, images)
    truths = _truths(labels, run)
    chances = _chances(labels, run, len(images), assume_uniform)
    truths = truths.join(chances, on=KEY, how="left", maintain_order="left")
    return Labelled(images, truths, labels, paths)


def _of_images(labels: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """Labels with their sample number, by the image where they do not state it."""
    named = images.select("prompt_id", "image", pl.col("sample").alias("found"))
    labels = labels.join(
        named.unique(["prompt_id", "image"]),
        on=["prompt_id", "image"],
        how="left",
        maintain_order="left",
    )
    labels = labels.with_columns(pl.coalesce("sample", "found").alias("sample")).drop("found")
    unknown = labels.join(images, on=KEY, how="anti")
    if len(unknown):
        row = unknown.row(0, named=True)
        raise InputError(
            f"{len(unknown):,} of {len(labels):,} labels are of images that this run does not have "
            f"(first: prompt {row['prompt_id']!r}, sample {row['sample']}, {row['image']})"
        )
    return labels


def _refuse_other_questions(labels: pl.DataFrame, run: Run) -> None:
    asked = {
        (prompt.id, question)
        for prompt in table_to_prompts(_prompts_of(labels, run))
        for question in (
            whole_question(prompt).id,
            *(a.question.id for a in questions_for(prompt)),
        )
    }
    keys = labels.select("prompt_id", "question_id", "question").rows()
    other = [key for key in keys if key[:2] not in asked]
    if other:
        prompt_id, question_id, text = other[0]
        raise InputError(
            f"{len(other):,} of {len(labels):,} labels answer questions that are not asked here "
            f"(first: prompt {prompt_id!r}, {text or question_id!r}); were the prompts others then?"
        )


def _refuse_other_pictures(labels: pl.DataFrame, run: Run, images: pl.DataFrame) -> None:
    """Labels belong to pictures, not to names."""
    hashed = labels.filter(pl.col("image_sha256").is_not_null())
    shown = images.join(hashed, on=KEY, how="semi")
    now = contents.look(run, shown, contents.load(run, "detect") or {})
    changed = {
        (prompt_id, sample)
        for prompt_id, sample, digest in hashed.select(*KEY, "image_sha256").iter_rows()
        if now[prompt_id, sample].sha256 not in (None, digest)
    }
    if changed:
        prompt_id, sample = min(changed)
        raise InputError(
            f"{len(changed):,} labelled pictures are others now (first: prompt {prompt_id!r}, "
            f"sample {sample}); labels hold for the pictures that people saw"
        )


def _truths(labels: pl.DataFrame, run: Run) -> pl.DataFrame:
    """One row per labelled image, in a fixed order."""
    prompts = {p.id: p for p in table_to_prompts(_prompts_of(labels, run))}
    votes: dict[tuple[str, int], dict[str, list[str]]] = {}
    for prompt_id, sample, question, label in labels.select(
        *KEY, "question_id", "label"
    ).iter_rows():
        votes.setdefault((prompt_id, sample), {}).setdefault(question, []).append(label)
    rows: list[dict[str, Any]] = []
    disputed = 0
    for (prompt_id, sample), questions in sorted(votes.items()):
        answers = {question: majority(said) for question, said in questions.items()}
        disputed += sum(len(set(said)) > 1 for said in questions.values())
        truth = truth_of(prompts[prompt_id], answers)
        values = {name: getattr(truth, name) for name in FIELDS}
        rows.append({"prompt_id": prompt_id, "sample": sample, **values})
    if disputed:
        note(f"{disputed:,} questions were answered differently by several annotators: majority")
    schema: dict[str, Any] = {"prompt_id": pl.String, "sample": pl.Int32}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(FIELDS, pl.String))


def majority(said: Sequence[str]) -> str:
    """What most say; unsure where there are as many on either side.

    >>> majority(["yes", "yes", "no"]), majority(["yes", "no"])
    ('yes', 'unsure')
    """
    yes, no = said.count(YES), said.count(NO)
    if yes == no or max(yes, no) <= said.count(UNSURE):
        return UNSURE
    return YES if yes > no else NO


def _chances(labels: pl.DataFrame, run: Run, count: int, assume_uniform: bool) -> pl.DataFrame:
    """`prompt_id, sample, pi`: the probability with which each labelled image was chosen."""
    own = labels.group_by(KEY).agg(
        pl.col("pi").drop_nulls().last().alias("said"), pl.col("batch").max()
    )
    picks = read_picks(run)
    picked = own.join(picks.select(*KEY, "pi"), on=KEY, how="left")
    if len(picks):
        # who labels in the order of the list has labelled a random part of it
        done = len(picks.join(own, on=KEY, how="semi")) / len(picks)
        picked = picked.with_columns(pl.col("pi") * done)
    elif own["batch"].n_unique() > 1:
        raise InputError(
            "these labels are of several batches, and the list of picked images "
            f"({PICKED}) that has their joint probabilities is not in {run.path}"
        )
    picked = picked.with_columns(pl.coalesce("pi", "said").alias("pi"))
    lacking = int(picked["pi"].is_null().sum())
    if lacking and assume_uniform and lacking == len(picked):
        picked = picked.with_columns(pl.lit(len(picked) / count).alias("pi"))
    elif lacking:
        raise InputError(
            f"{lacking:,} of {len(picked):,} labelled images have no probability of having been "
            "chosen (pi), so there is no unbiased mean of them; --assume-uniform, if they were "
            "chosen by chance, all alike"
        )
    return picked.select(*KEY, "pi")


def _prompts_of(labels: pl.DataFrame, run: Run) -> pl.DataFrame:
    return run.prompts().join(labels, on="prompt_id", how="semi", maintain_order="left")
