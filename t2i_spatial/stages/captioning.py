"""Captions of the kept images by a judge: `captions/<name>.parquet`, and what became of each claim.

A picture is asked once, and once more if the boxes contradict what was written. Everything else is
made anew from the stored replies on every call, so another limit or detector asks only where the
question itself is another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.curation.box_captions import JUDGED
from t2i_spatial.curation.caption_length import Limit
from t2i_spatial.curation.claim_checks import FATES, Seen
from t2i_spatial.curation.dense_captions import DENSE, caption_question
from t2i_spatial.engines import Local, run_batches
from t2i_spatial.errors import IncompleteRunError, InputError
from t2i_spatial.files import read_table, write_table
from t2i_spatial.judges import JUDGES
from t2i_spatial.provenance import environment
from t2i_spatial.questions import ANSWERED, ANSWERS, Question, questions_to_table
from t2i_spatial.run import Run, detect_stage
from t2i_spatial.stages import contents
from t2i_spatial.stages.ask_settings import CaptionerSettings
from t2i_spatial.stages.ask_worker import AskWorkers, LoadJudge, Pending
from t2i_spatial.stages.caption_drafts import CAPTIONS, CLAIMS, Draft, Item, drafted, settled
from t2i_spatial.stages.plan_of_asking import AGAIN, IMAGE_TOKENS
from t2i_spatial.tables import KEY, conform, table_to_prompts

BATCH = 32
"""Pictures of one batch: what an interruption can cost."""
AT_ONCE = 2_048
"""Pictures whose questions are in memory together."""
ASKED = (*KEY, "question_id")


@dataclass(frozen=True)
class Captioned:
    """What a judge wrote.

    Attributes:
        name: of the tables.
        judge: who wrote, in words.
        table: CAPTIONS of the images that were asked about.
        left: images that a limit of requests has left to be asked about.
    """

    name: str
    judge: str
    table: pl.DataFrame
    left: int

    def counts(self) -> dict[str, Any]:
        """Images by outcome, and claims by what the boxes say to them."""
        table = self.table
        return {
            "name": self.name,
            "judge": self.judge,
            "template": DENSE.name,
            "images": len(table),
            "statuses": dict(table["status"].value_counts().sort("status").iter_rows()),
            "claims": {fate: int(table[fate].sum()) for fate in FATES},
            "asked_again": int((table["replies"] > 1).sum()),
            "struck_sentences": int(table["struck"].sum()),
            "shortened": int((table["cut"] > 0).sum()),
            "left": self.left,
        }

    def as_text(self) -> str:
        """The same for a person."""
        found = self.counts()
        statuses, claims = dict(found["statuses"]), found["claims"]
        written = statuses.pop(ANSWERED, 0)
        lines = [f"captions by {self.judge}: {written:,} of {len(self.table):,} images"]
        lines += [f"  {n:,} {status}: they keep their prompt" for status, n in statuses.items()]
        lines += [
            f"  claims: {claims['supported']:,} supported by the boxes, "
            f"{claims['cannot_tell']:,} that boxes cannot tell, {claims['undetected']:,} of things "
            "that were not detected",
            f"  {claims['contradicted']:,} contradicted: asked again of {found['asked_again']:,} "
            f"images, {found['struck_sentences']:,} sentences struck out",
        ]
        if found["shortened"]:
            lines.append(f"  {found['shortened']:,} captions were shortened to the limit of tokens")
        if self.left:
            lines.append(f"  {self.left:,} images still to be asked about: the command goes on")
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """The same for the card of the set."""
        told = "\n".join(f"- {line.strip()}" for line in self.as_text().splitlines())
        return (
            "## Captions\n\nWritten by a judge from the image, its prompt and its boxes (template "
            f"`{DENSE.name}`), and checked against the boxes.\n\n{told}"
        )

    def require_some(self) -> None:
        """Refuse a set of which no image got its caption.

        Raises:
            IncompleteRunError: none did.
        """
        if len(self.table) and not (self.table["status"] == ANSWERED).any():
            raise IncompleteRunError(
                f"none of the {len(self.table):,} images got a caption by {self.judge}; the column "
                f"reason of captions/{self.name}.parquet says why (first: "
                f"{self.table['reason'].drop_nulls().head(1).to_list() or ['?']})"
            )

    def join(self, candidates: pl.LazyFrame) -> pl.LazyFrame:
        """The candidates with the column of captions."""
        said = self.table.lazy().select(*KEY, pl.col("caption").alias(JUDGED))
        return candidates.join(said, on=list(KEY), how="left", maintain_order="left")


@dataclass(frozen=True)
class Boxes:
    """Which boxes captions are checked against.

    Attributes:
        name: of the detections.
        min_score: detector score from which a box is certain.
    """

    name: str = "main"
    min_score: float = 0.3


def caption_stage(name: str) -> str:
    """Key in `run.json` of the stage that writes `captions/<name>.parquet`."""
    return f"caption-{name}"


def cost_of_captions(
    run: Run, rows: pl.DataFrame, boxes: Boxes, settings: CaptionerSettings, limit: Limit
) -> dict[str, int]:
    """What captions would take; nothing is loaded or asked.

    Returns:
        `requests`, `images` and `tokens` of the first questions that have no reply yet. Images
        whose caption the boxes contradict take one more request.
    """
    settings.resolve_writer()
    require_boxes(run, boxes)
    done = _Replies(run, settings.captions_name, keep=True).known
    items = [item for part in _items(run, rows, boxes) for item in part]
    asked = [(item, _first(item, limit)) for item in items]
    left = [q for item, q in asked if (*item.key, q.id) not in done]
    tokens = sum(len(q.text) // 4 for q in left) + len(left) * (IMAGE_TOKENS + limit.tokens)
    return {"requests": len(left), "images": len(left), "tokens": tokens}


def caption_images(
    run: Run,
    rows: pl.DataFrame,
    boxes: Boxes,
    settings: CaptionerSettings,
    limit: Limit,
    *,
    overwrite: bool = False,
) -> Captioned:
    """Have a judge write captions, check them and keep both; replies that are there are not asked
    for again, errors are.

    Args:
        rows: `prompt_id, sample, path, text` of the images.

    Raises:
        InputError: the judge cannot write, or the run has no boxes of that name.
        PlanMismatchError: captions of this name are another judge's, and not `overwrite`.
        JudgeError, ModelLoadError: the judge cannot be asked. What it wrote is kept.
    """
    name, stage = settings.captions_name, caption_stage(settings.captions_name)
    spec = settings.resolve_writer()
    require_boxes(run, boxes)
    on_device = JUDGES[spec.backend].on_device
    engine = Local() if on_device else Local().at_one_place()
    devices = engine.devices(settings.device) if on_device else ["cpu"]
    load = LoadJudge(spec)
    made: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    try:
        facts = engine.once(load.facts, devices[0])
        if not engine.is_here(devices):
            load.close()
        _begin(run, name, facts.plan, overwrite=overwrite)
        do = functools.partial(run_batches, run, stage, engine=engine, devices=devices)
        asking = _Asking(load, do, _Replies(run, name), settings.max_requests)
        for items in _items(run, rows, boxes):
            done = [d for d in _written(asking, items, limit) if d.status is not None]
            made += [draft.row(limit) for draft in done]
            claims += [row for draft in done for row in draft.claims]
        found_out = load.found_out()
    finally:
        load.close()
    table = pl.DataFrame(made, schema=CAPTIONS)
    folder = run.path / "captions"
    write_table(folder / f"{name}.parquet", table)
    write_table(folder / f"{name}.claims.parquet", pl.DataFrame(claims, schema=CLAIMS))
    who = settings.judge_model or found_out.get("served_model") or settings.judge
    captioned = Captioned(name, str(who), table, len(rows) - len(made))
    if not captioned.left:
        run.finish(stage, **captioned.counts(), **found_out)
    return captioned


def _begin(run: Run, name: str, judge: Mapping[str, Any], *, overwrite: bool) -> None:
    """Start or resume the stage; replies of another plan go when it is made anew."""
    stage = caption_stage(name)
    known = run.plan(stage)
    plan = {**judge, "templates": {DENSE.name: DENSE.to_dict()}}
    run.begin(stage, plan, record=environment(), overwrite=overwrite)
    if run.plan(stage) != known:
        _replies_path(run, name).unlink(missing_ok=True)
    run.reopen(stage)


def _replies_path(run: Run, name: str) -> Path:
    return run.path / "captions" / f"{name}.replies.parquet"


def require_boxes(run: Run, boxes: Boxes) -> None:
    """Refuse a run without the boxes that captions are checked against.

    Raises:
        InputError: it has none of that name.
    """
    if not run.has(f"detections/{boxes.name}.parquet"):
        raise InputError(
            f"{run.path} has no detections/{boxes.name}.parquet; captions of a judge are checked "
            "against boxes: run `t2i-spatial detect` first"
        )


def _written(asking: _Asking, items: Sequence[Item], limit: Limit) -> list[Draft]:
    first = asking.ask([(item, _first(item, limit)) for item in items])
    drafts = drafted(items, first)
    again = [draft for draft in drafts if draft.contradicted]
    questions = [
        caption_question(
            draft.item.prompt,
            draft.item.seen.certain,
            draft.item.size,
            limit,
            written=" ".join(draft.sentences),
            wrong=draft.contradicted,
        )
        for draft in again
    ]
    second = asking.ask(list(zip([draft.item for draft in again], questions, strict=True)))
    return settled(drafts, second, limit)


def _first(item: Item, limit: Limit) -> Question:
    return caption_question(item.prompt, item.seen.certain, item.size, limit)


def _items(run: Run, rows: pl.DataFrame, boxes: Boxes) -> Iterator[list[Item]]:
    """The images with their boxes, `AT_ONCE` at a time."""
    vocabulary = run.plan(detect_stage(boxes.name)).get("vocabulary") or ()
    prompts = {prompt.id: prompt for prompt in table_to_prompts(run.prompts())}
    asked = contents.asked_names(run.prompts(), vocabulary)
    table = run.detections(boxes.name)
    places = {key: k for k, key in enumerate(table.select(*KEY).iter_rows())}
    for start in range(0, len(rows), AT_ONCE):
        part = []
        for prompt_id, sample, path, text in (
            rows[start : start + AT_ONCE].select(*KEY, "path", "text").iter_rows()
        ):
            place = places.get((prompt_id, sample))
            row = None if place is None else table.row(place, named=True)
            seen = Seen(row, asked.get(prompt_id, ()), boxes.min_score)
            scene = prompts[prompt_id].scene if prompt_id in prompts else None
            main = scene.names if scene else ()
            part.append(Item(prompt_id, sample, path, text, seen, main))
        yield part


@dataclass
class _Asking:
    """Puts questions to the judge, within the number of requests that is left."""

    load: LoadJudge
    do: Callable[..., None]
    replies: _Replies
    most: int | None
    sent: int = 0
    tried: set[tuple[str, int, str]] = field(default_factory=set)

    def ask(self, wanted: Sequence[tuple[Item, Question]]) -> dict[tuple[str, int], dict[str, Any]]:
        """The reply to the question of every picture, by key; none where the limit forbids."""
        fresh = [(item, q) for item, q in wanted if not self._is_known((*item.key, q.id))]
        if self.most is not None:
            fresh = fresh[: max(0, self.most - self.sent)]
        self.sent += len(fresh)
        self.tried |= {(*item.key, q.id) for item, q in fresh}
        table = questions_to_table((item.prompt_id, q) for item, q in fresh)
        pending = [Pending(*item.key, item.path, ((q.id, 0),)) for item, q in fresh]
        batches = [pending[k : k + BATCH] for k in range(0, len(pending), BATCH)]
        try:
            self.do(batches, AskWorkers(self.load, table, 0))
        finally:
            self.replies.fold()
        known = self.replies.known
        keys = [(*item.key, q.id) for item, q in wanted]
        return {key[:2]: known[key] for key in keys if key in known}

    def _is_known(self, key: tuple[str, int, str]) -> bool:
        row = self.replies.known.get(key)
        return key in self.tried or (row is not None and row["status"] not in AGAIN)


class _Replies:
    """Raw replies of a judge that writes captions, of interrupted calls too.

    Attributes:
        known: (prompt id, sample, question id) -> row of ANSWERS.
    """

    def __init__(self, run: Run, name: str, *, keep: bool = False) -> None:
        stage = caption_stage(name)
        self.shards, self.path = run.shards(stage), _replies_path(run, name)
        self.known: dict[tuple[str, int, str], dict[str, Any]] = {}
        if keep and not self.path.exists():
            return
        images = run.images()
        seen = contents.load(run, stage) or {}
        now = contents.look(run, images, seen)
        other = {*contents.replaced(seen, now)}  # a reply about another picture is none about this
        if self.path.exists():
            self._add(conform(read_table(self.path), ANSWERS, self.path.name), other)
        self._add(self.shards.read_all(ANSWERS), other)
        if not keep:
            gone = {key for key, picture in now.items() if picture == contents.NOTHING}
            contents.store(run, stage, {**now, **{k: seen[k] for k in gone & seen.keys()}})
            self.fold()

    def fold(self) -> None:
        """Take the finished batches over into the table."""
        self._add(self.shards.read_all(ANSWERS), set())
        write_table(self.path, pl.DataFrame(list(self.known.values()), schema=ANSWERS))
        self.shards.drop_all()

    def _add(self, table: pl.DataFrame, but: set[Any]) -> None:
        for row in table.iter_rows(named=True):
            if (row["prompt_id"], row["sample"]) not in but:
                self.known[row["prompt_id"], row["sample"], row["question_id"]] = row
