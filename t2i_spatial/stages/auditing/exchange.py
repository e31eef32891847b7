"""Labels made elsewhere, put into a run; and what other tools need to make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write
from t2i_spatial.labels.formats import Said, read_labels_of_others, write_csv
from t2i_spatial.labels.people import questions_for, whole_question
from t2i_spatial.labels.records import (
    Label,
    append_label,
    label_files,
    last_words,
    now,
    read_labels,
)
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.auditing.labelled import existing_images, read_picks
from t2i_spatial.tables import KEY, table_to_prompts


@writes_run
def import_labels(run: Run, file: Path, annotator: str | None = None) -> tuple[int, Path]:
    """Add the labels of a file to `labels/<name of the file>.jsonl` of a run.

    Returns:
        How many labels, and where they are now.

    Raises:
        InputError: an image, question or word that is not known (says which line); nothing is
            added then.
    """
    target = run.path / "labels" / f"{file.stem}.jsonl"
    if file.suffix == ".jsonl":
        found = [Label(**row) for row in read_labels([file]).iter_rows(named=True)]
    else:
        found = _matched(run, read_labels_of_others(file), annotator)
    if not found:
        raise InputError(f"{file} holds no labels")
    before = set(read_labels([target]).drop("time").rows()) if target.exists() else set()
    columns = [name for name in Label.__dataclass_fields__ if name != "time"]
    new = [x for x in found if tuple(getattr(x, name) for name in columns) not in before]
    append_label(target, *new)
    return len(new), target


def export_labels(run: Run, form: str, output: Path) -> None:
    """Write picked images, questions and the labels that there are: CSV, or Label Studio's tasks.

    A row without a label waits for one: filled in, the file can be imported.

    Raises:
        InputError: nothing was picked and nothing labelled.
    """
    rows = _rows(run)
    if not rows:
        raise InputError(f"{run.path}: nothing was picked yet; `t2i-spatial audit pick` does")
    if form == "csv":
        text = write_csv(rows)
    else:
        tasks = [{"data": {k: v for k, v in row.items() if k != "label"}} for row in rows]
        text = json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"
    with atomic_write(output, "w") as target:
        target.write(text)


def _rows(run: Run) -> list[dict[str, Any]]:
    picks = read_picks(run).sort("place")
    files = label_files(run.path)
    labels = last_words(read_labels(files)) if files else None
    made: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    if labels is not None:
        for *key, who, said in labels.select(*KEY, "question_id", "annotator", "label").iter_rows():
            made.setdefault(tuple(key), []).append((who, said))
    images = picks.select(*KEY, "image", "pi")
    if labels is not None:
        more = labels.select(*KEY, "image", "pi").unique(KEY, maintain_order=True)
        images = pl.concat([images, more.join(images, on=KEY, how="anti")])
    prompts = {p.id: p for p in table_to_prompts(run.prompts())}
    rows = []
    for prompt_id, sample, image, pi in images.iter_rows():
        prompt = prompts[prompt_id]
        asked = {a.question.id: a.question.text for a in questions_for(prompt)}
        whole = whole_question(prompt)
        if (prompt_id, sample, whole.id) in made:
            asked[whole.id] = whole.text
        for question_id, text in asked.items():
            for who, said in made.get((prompt_id, sample, question_id), [("", "")]):
                rows.append(
                    {
                        "image": image,
                        "prompt_id": prompt_id,
                        "sample": sample,
                        "prompt": prompt.text,
                        "question_id": question_id,
                        "question": text,
                        "label": said,
                        "annotator": who,
                        "pi": pi,
                    }
                )
    return rows


def _matched(run: Run, said: list[Said], annotator: str | None) -> list[Label]:
    images = existing_images(run)
    keys: dict[str, tuple[str, int]] = {}
    for prompt_id, sample, image in images.iter_rows():
        for name in (image, Path(image or "").name, Path(image or "").stem):
            keys.setdefault(name, (prompt_id, sample))
    places = {(row[0], row[1]): row[2] for row in images.iter_rows()}
    matched = [(_key(s, keys, places), s) for s in said]
    shown = images.join(
        pl.DataFrame(
            [key for key, _ in matched], schema=images.select(KEY).schema, orient="row"
        ).unique(),
        on=KEY,
        how="semi",
    )
    seen = contents.look(run, shown, contents.load(run, "detect") or {})
    prompts = {p.id: p for p in table_to_prompts(run.prompts())}
    labels = []
    for key, answer in matched:
        fields = answer.fields
        who = fields.get("annotator") or annotator
        if not who:
            raise InputError(f"{answer.where}: no annotator; --annotator names who made the labels")
        asked = {a.question.id: a.question for a in questions_for(prompts[key[0]])}
        whole = whole_question(prompts[key[0]])
        asked[whole.id] = whole
        named = fields.get("question_id") or fields.get("question") or "whole"
        by_text = {q.text: q for q in asked.values()} | {"whole": whole}
        question = asked.get(named) or by_text.get(named)
        if question is None:
            raise InputError(f"{answer.where}: the question {named!r} is not asked of this image")
        labels.append(
            Label(
                image=places[key],
                image_sha256=seen[key].sha256,
                prompt_id=key[0],
                sample=key[1],
                question_id=question.id,
                question=question.text,
                label=answer.label,
                annotator=who,
                pi=_number(fields.get("pi"), answer.where),
                time=fields.get("time") or now(),
            )
        )
    return labels


def _key(
    said: Said, keys: dict[str, tuple[str, int]], places: dict[tuple[str, int], Any]
) -> tuple[str, int]:
    fields = said.fields
    if "prompt_id" in fields and fields.get("sample", "").isdecimal():
        key = fields["prompt_id"], int(fields["sample"])
        if key in places:
            return key
    name = fields.get("image", "")
    found = keys.get(name) or keys.get(Path(name).name)
    if found is None:
        told = name or f"{fields.get('prompt_id')!r}, sample {fields.get('sample')!r}"
        raise InputError(f"{said.where}: this run has no image {told}")
    return found


def _number(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: pi is {text!r}, expected a number") from None
