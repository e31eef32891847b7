"""From the replies of a judge to captions that the boxes do not contradict: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from t2i_spatial.curation.caption_length import Limit
from t2i_spatial.curation.claim_checks import CONTRADICTED, FATES, Finding, Seen, check
from t2i_spatial.curation.dense_captions import (
    sentences_of_reply,
    shortened,
    split_sentences,
    without_contradicted,
)
from t2i_spatial.errors import InputError
from t2i_spatial.judges.replies import is_refusal
from t2i_spatial.questions import ANSWERED, OFF_FORMAT, REFUSED

NOTHING_LEFT = "nothing_left"
"""Status of an image whose caption was struck out, or too long, sentence by sentence."""

CAPTIONS = pl.Schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "status": pl.String,
        "reason": pl.String,
        "caption": pl.String,
        "tokens": pl.Int32,
        "replies": pl.Int32,
        **dict.fromkeys(FATES, pl.Int32),
        "struck": pl.Int32,
        "cut": pl.Int32,
    }
)
"""One row per image. `caption` is null unless `answered`; the columns of fates count claims of the
caption, but for `contradicted`, those of the replies that boxes contradict; `struck` and `cut` are
sentences that were taken out because of that, and for the limit of tokens."""

CLAIMS = pl.Schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "reply": pl.Int32,
        "sentence": pl.Int32,
        "text": pl.String,
        "kind": pl.String,
        "claim": pl.String,
        "fate": pl.String,
        "p": pl.Float64,
        "reason": pl.String,
        "kept": pl.Boolean,
    }
)
"""One row per claim of a reply (1, or 2 for what was asked again). `text` is its sentence, `p` the
probability by the rules of `spatial`, `kept` whether the sentence is in the caption."""

CHECKED_AT_ONCE = 256


@dataclass(frozen=True)
class Item:
    """An image that a caption is written of.

    Attributes:
        path: of the image.
        prompt: what it was made from.
        main: names of the main things, those of the prompt.
    """

    prompt_id: str
    sample: int
    path: str
    prompt: str
    seen: Seen
    main: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """(prompt id, sample)."""
        return self.prompt_id, self.sample

    @property
    def size(self) -> tuple[int, int]:
        """Width and height that the boxes belong to; 0 where that is not known."""
        return self.seen.row.get("width") or 0, self.seen.row.get("height") or 0


@dataclass
class Draft:
    """A caption in the making.

    Attributes:
        status: `None` while nothing is known of it.
        sentences: what stands so far.
        findings: what boxes say to its claims.
        contradicted: findings against the first reply.
        replies, used: how many there were, and from which one the sentences are.
        wrong: claims of all replies that boxes contradict.
        struck, cut: sentences taken out because of that, and for the limit.
        claims: rows of CLAIMS.
    """

    item: Item
    status: str | None = None
    reason: str | None = None
    sentences: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    contradicted: list[Finding] = field(default_factory=list)
    replies: int = 0
    used: int = 0
    wrong: int = 0
    struck: int = 0
    cut: int = 0
    claims: list[dict[str, Any]] = field(default_factory=list)

    def read(self, reply: Mapping[str, Any]) -> bool:
        """Take the sentences of a reply, if it holds a caption; else only why it holds none."""
        status, reason, sentences = _read(reply)
        self.replies += 1
        if not self.sentences or sentences:
            self.status, self.reason, self.sentences = status, reason, sentences
            self.used = self.replies
        return bool(sentences)

    def fail(self, status: str, reason: str) -> None:
        """No caption after all."""
        self.status, self.reason, self.sentences, self.findings = status, reason, [], []

    def note(self, findings: Sequence[Finding], *, only_contradicted: bool = False) -> None:
        """Keep what was found out about the claims of the sentences that stand."""
        self.findings = list(findings)
        for found in findings:
            wrong = found.fate == CONTRADICTED
            self.wrong += wrong
            if wrong or not only_contradicted:
                self.claims.append(self._claim(found))

    def _claim(self, found: Finding) -> dict[str, Any]:
        return {
            "prompt_id": self.item.prompt_id,
            "sample": self.item.sample,
            "reply": self.used,
            "sentence": found.claim.sentence,
            "text": self.sentences[found.claim.sentence],
            "kind": found.claim.kind,
            "claim": found.claim.said,
            "fate": found.fate,
            "p": found.probability,
            "reason": found.reason,
        }

    def finish(self) -> None:
        """Say of every claim whether its sentence is in the caption."""
        standing = set(self.sentences)
        for claim in self.claims:
            claim["kept"] = claim["reply"] == self.used and claim["text"] in standing

    def row(self, limit: Limit) -> dict[str, Any]:
        """The row of CAPTIONS."""
        caption = " ".join(self.sentences) if self.status == ANSWERED else None
        fates = [found.fate for found in self.findings if self.status == ANSWERED]
        return {
            "prompt_id": self.item.prompt_id,
            "sample": self.item.sample,
            "status": self.status,
            "reason": self.reason,
            "caption": caption,
            "tokens": None if caption is None else limit.count(caption),
            "replies": self.replies,
            **{fate: fates.count(fate) for fate in FATES},
            CONTRADICTED: self.wrong,
            "struck": self.struck,
            "cut": self.cut,
        }


def _read(reply: Mapping[str, Any]) -> tuple[str, str | None, list[str]]:
    """Status, reason and sentences of a row of ANSWERS."""
    if reply["status"] != ANSWERED:
        return reply["status"], reply["reason"], []
    text = reply["answer"] or ""
    first = split_sentences(text)[:1]
    if first and is_refusal(first[0]):
        return REFUSED, f"the judge refused: {first[0][:60]!r}", []
    try:
        return ANSWERED, None, sentences_of_reply(text)
    except InputError as error:
        return OFF_FORMAT, str(error), []


def drafted(
    items: Sequence[Item], replies: Mapping[tuple[str, int], Mapping[str, Any]]
) -> list[Draft]:
    """The first replies, read and checked."""
    drafts = [Draft(item) for item in items]
    written = [d for d in drafts if d.item.key in replies and d.read(replies[d.item.key])]
    for draft, findings in zip(written, _checked(written), strict=True):
        draft.note(findings)
        draft.contradicted = [found for found in findings if found.fate == CONTRADICTED]
    return drafts


def settled(
    drafts: Sequence[Draft], replies: Mapping[tuple[str, int], Mapping[str, Any]], limit: Limit
) -> list[Draft]:
    """The drafts with their second replies, where they have one, struck out and cut until no claim
    is contradicted and the caption is short enough.

    Args:
        replies: to what was asked again. One that cannot be used leaves the first one.
    """
    again = [d for d in drafts if d.contradicted]
    for draft in again:
        if draft.item.key not in replies:
            draft.status = None  # to be asked by the next call
    better = [d for d in again if d.status is not None and d.read(replies[d.item.key])]
    for draft, findings in zip(better, _checked(better), strict=True):
        draft.note(findings)
    left = [draft for draft in drafts if draft.sentences and draft.status is not None]
    while left:
        changed = [draft for draft in left if _changed(draft, limit)]
        # what is left may mean something else than it did among the other sentences
        for draft, findings in zip(changed, _checked(changed), strict=True):
            draft.note(findings, only_contradicted=True)
        left = changed
    for draft in drafts:
        draft.finish()
    return list(drafts)


def _changed(draft: Draft, limit: Limit) -> bool:
    """Take something out of a caption, if it has to be; whether something is left to be checked."""
    before = len(draft.sentences)
    kept = without_contradicted(draft.sentences, draft.findings)
    if len(kept) < before:
        draft.struck += before - len(kept)
    else:
        kept = shortened(draft.sentences, draft.findings, draft.item.main, limit)
        draft.cut += before - len(kept)
    draft.sentences = kept
    if not kept:
        why = "boxes contradict all of it" if draft.struck else "no sentence of it is short enough"
        draft.fail(NOTHING_LEFT, why)
    return bool(kept) and len(kept) < before


def _checked(drafts: Sequence[Draft]) -> list[list[Finding]]:
    found: list[list[Finding]] = []
    for start in range(0, len(drafts), CHECKED_AT_ONCE):
        part = drafts[start : start + CHECKED_AT_ONCE]
        found += check([d.sentences for d in part], [d.item.seen for d in part])
    return found
