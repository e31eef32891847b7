"""Result files of the peers' judges, as answers: old runs are scored again and get intervals.

One reader per protocol that writes such a file. What a file says of a prompt that is not in the
set, or twice of one image, is an error; an image that it does not hold is missing, and counted.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.incoming import read_text
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.questions import ANSWERED, ANSWERS
from t2i_spatial.tables import KEY

Row = dict[str, Any]
"""`prompt_id, sample, text` (of the question; `None`: the prompt's only one) and what was said."""


def read_answer_file(path: Path, prompts: pl.DataFrame, protocol: AnswerMetric) -> pl.DataFrame:
    """ANSWERS of a peer's result file.

    Args:
        prompts: PROMPTS that the file is about, in the order of the peer's prompt file.
        protocol: whose result it is.

    Raises:
        InputError: no such file, another form, unknown prompts or questions, an image twice.
    """
    if protocol.name not in READERS:
        known = ", ".join(READERS)
        raise InputError(f"{protocol.name} has no result file that can be read; known: {known}")
    text = read_text(path, "result file")
    try:
        rows = list(READERS[protocol.name](text, prompts))
    except T2ISpatialError as error:  # an `InputError` is a ValueError too
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is no result file of {protocol.name} ({what})") from None
    if not rows:
        raise InputError(f"{path} holds no results")
    return _answers(rows, protocol.questions(prompts), path)


def _answers(rows: Sequence[Row], questions: pl.DataFrame, path: Path) -> pl.DataFrame:
    known = set(questions["prompt_id"])
    by_text: dict[tuple[str, str | None], list[tuple[str, str]]] = {}
    for prompt_id, question_id, text, gold in questions.select(
        "prompt_id", "question_id", "text", "gold"
    ).iter_rows():
        for key in (text, None):
            by_text.setdefault((prompt_id, key), []).append((question_id, gold))
    made = []
    for row in rows:
        if row["prompt_id"] not in known:
            raise InputError(
                f"{path} holds prompt {row['prompt_id']!r}, which is none of the prompt set; is it "
                "the result of other prompts?"
            )
        text = row.pop("text", None)
        found = by_text.get((row["prompt_id"], text), [])
        if len(found) != 1:
            what = f"the question {text!r}" if text else "a question"
            raise InputError(
                f"{path}: the prompt set has not {what} of prompt {row['prompt_id']!r}"
            )
        question_id, gold = found[0]
        p = row.pop("p", None)
        if p is not None:
            row |= {"chances": [{"answer": gold, "p": p}], "mass": 1.0, "p": p, "p_raw": p}
            row["answer"] = gold if p > 0.5 else None
        made.append({"rollout": 0, **row, "question_id": question_id, "status": ANSWERED})
    table = pl.DataFrame(made, schema=ANSWERS)
    keys = table.select(*KEY, "question_id", "rollout")
    if keys.is_duplicated().any():
        first = table.filter(keys.is_duplicated()).row(0, named=True)
        raise InputError(
            f"{path} holds prompt {first['prompt_id']!r}, sample {first['sample']} twice; a result "
            "file that was appended to counts such items double"
        )
    return table


def _spatialgeneval(text: str, prompts: pl.DataFrame) -> Iterator[Row]:
    """One line per image, `model_preds_cot` holding the lines of every valid reply."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            replies = record["model_preds_cot"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"line {number} is no result of SpatialGenEval") from None
        for rollout, lines in enumerate(replies):
            raw = "\n".join(str(said) for said in lines)
            yield {"prompt_id": str(record["id"]), "sample": 0, "rollout": rollout, "raw": raw}


def _geneval2(text: str, prompts: pl.DataFrame) -> Iterator[Row]:
    """A list per prompt, in the order of the prompt file, of the scores of its atoms."""
    lists = json.loads(text)
    if len(lists) != len(prompts):
        raise InputError(
            f"{len(lists):,} lists of scores for {len(prompts):,} prompts; it has no ids, so the "
            "prompt file must be the very one"
        )
    for prompt_id, metadata, scores in zip(
        prompts["prompt_id"], prompts["metadata"], lists, strict=True
    ):
        record = json.loads(metadata or "{}").get("geneval2")
        if record is None:
            raise InputError(f"the prompt {prompt_id!r} is none of GenEval 2's prompt file")
        pairs = record["vqa_list"]
        if len(scores) != len(pairs):
            raise InputError(f"{len(scores)} scores for {len(pairs)} atoms of prompt {prompt_id!r}")
        said: dict[str, float] = {}
        for (question, _), score in zip(pairs, scores, strict=True):
            if said.setdefault(question, float(score)) != float(score):
                raise InputError(f"two scores of {question!r}, prompt {prompt_id!r}")
        for question, score in said.items():
            yield {"prompt_id": prompt_id, "sample": 0, "text": question, "p": score}


def _tifa(text: str, prompts: pl.DataFrame) -> Iterator[Row]:
    """`question_details`: caption -> question -> what was chosen."""
    for prompt_id, details in json.loads(text)["question_details"].items():
        for question, said in details.items():
            choices = ", ".join(said["choices"])
            yield {
                "prompt_id": str(prompt_id),
                "sample": 0,
                "text": f"Question: {question} Choices: {choices}. Answer:",
                "answer": said["multiple_choice_vqa"],
                "raw": said.get("free_form_vqa"),
            }


def _dsg(text: str, prompts: pl.DataFrame) -> Iterator[Row]:
    """A row per question of `vqa_answers_release`: item, question, answer."""
    from t2i_spatial.metrics.asked.dsg import peer_question

    rows = list(csv.DictReader(text.splitlines()))
    models = sorted({row["t2i_model"] for row in rows})
    if len(models) > 1:
        told = ", ".join(models)
        raise InputError(f"results of several models ({told}); keep the rows of one t2i_model")
    known = set(prompts["prompt_id"])
    for row in rows:
        if row["item_id"] in known or len(rows) == 1:
            said = row["answer"].strip()
            yield {
                "prompt_id": row["item_id"],
                "sample": 0,
                "text": peer_question(row["question"]),
                "answer": "yes" if said.lower() == "yes" else "no",
                "raw": said,
            }


def _vqa_result(text: str, prompts: pl.DataFrame) -> Iterator[Row]:
    """`question_id` numbers the images, ten of each prompt in order; `answer` is the score."""
    ids = prompts["prompt_id"].to_list()
    for record in json.loads(text):
        number = int(record["question_id"])
        place, sample = divmod(number, SAMPLES)
        if not 0 <= place < len(ids):
            raise InputError(
                f"question_id {number} is beyond {len(ids):,} prompts of {SAMPLES} images"
            )
        score = float(record["answer"])
        yield {"prompt_id": ids[place], "sample": sample, "answer": repr(score)}


def _unigenbench(text: str, prompts: pl.DataFrame) -> Iterator[Row]:
    """A row per image, `<index>_<sample>.png`, with the whole reply."""
    csv.field_size_limit(2**30)
    for row in csv.DictReader(text.splitlines(keepends=True)):
        found = re.search(r"_(\d+)\.\w+$", row["img_path"])
        if found is None:
            raise InputError(f"the image {row['img_path']!r} is not named INDEX_SAMPLE")
        yield {"prompt_id": row["index"], "sample": int(found[1]), "raw": row["output"] or ""}


SAMPLES = 10
"""Images per prompt in T2I-CompBench, whose file numbers them through."""
READERS: Mapping[str, Callable[[str, pl.DataFrame], Iterator[Row]]] = {
    "spatialgeneval": _spatialgeneval,
    "geneval2": _geneval2,
    "tifa": _tifa,
    "dsg": _dsg,
    "t2i_compbench_mllm": _vqa_result,
    "unigenbench": _unigenbench,
}
"""Protocol -> reader of its peer's result file."""


def write_vqa_result(path: Path, verdicts: pl.DataFrame, prompts: pl.DataFrame) -> int:
    """T2I-CompBench's `vqa_result.json` of VERDICTS; images without a value are left out.

    Returns:
        How many were written.

    Raises:
        InputError: a sample number beyond ten, which the file cannot say.
    """
    place = {prompt_id: k for k, prompt_id in enumerate(prompts["prompt_id"])}
    rows = []
    for prompt_id, sample, value in verdicts.select(*KEY, "value").drop_nulls().iter_rows():
        if sample >= SAMPLES:
            raise InputError(f"vqa_result.json numbers {SAMPLES} images per prompt, got {sample}")
        rows.append({"question_id": place[prompt_id] * SAMPLES + sample, "answer": 100 * value})
    path.write_text(json.dumps(rows), "utf-8")
    return len(rows)
