"""What `ask` can be told: which judge, for which protocols, how often, and at what cost at most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from t2i_spatial.settings import Dtype, Option, Settings, TableName

if TYPE_CHECKING:
    from t2i_spatial.judges.base import JudgeSpec
    from t2i_spatial.metrics.answers import AnswerMetric

DEFAULT_ASKING = ("spatial_vqa",)
"""Protocols that are asked for unless others are named."""


class JudgeChoice(Settings):
    """Which judge, and where it runs."""

    judge: str = Field(
        default="bundled",
        description="'bundled', 'boxes', the URL of a chat-completions endpoint, 'transformers:ID' "
        "(a hub id or folder), or 'backend:source' of a package.",
    )
    judge_model: str | None = Field(
        default=None,
        description="Name of the model at a URL.  [default: the only one that the server lists]",
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch of a hub id.")
    dtype: Dtype = Field(default="float32", description="Precision of a local judge.")
    device: str = Field(default="auto", description="Of a local judge: auto, cpu, cuda:0, ...")
    cache: Path | None = Field(
        default=None,
        description="Folder of raw replies that runs share: what was asked before costs nothing. "
        "Judges at a URL only.  [default: none]",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Settings that only this kind of judge knows."
    )

    def resolve(self) -> JudgeSpec:
        """The judge these settings mean; nothing is loaded or asked.

        Raises:
            InputError: no such judge, or a setting that it does not know.
        """
        from t2i_spatial.judges import resolve_judge

        options = dict(self.options)
        if self.cache is not None:
            options["cache"] = str(self.cache)
        return resolve_judge(
            self.judge,
            model=self.judge_model,
            revision=self.revision,
            dtype=self.dtype,
            options=options,
        )


def short_name(judge: str, model: str | None) -> str:
    """What the tables of a judge are called, made of its name.

    >>> short_name("https://api/v1", "Qwen/Qwen3-VL-8B"), short_name("transformers:a/b.c", None)
    ('Qwen3-VL-8B', 'b-c')
    """
    words = model or judge.rstrip("/")
    last = words.replace(":", "/").rsplit("/", 1)[-1]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in last) or "judge"


class JudgeSettings(JudgeChoice):
    """Which judge, where it runs, and how it is asked."""

    votes: int = Field(
        default=5,
        ge=1,
        le=101,
        description="Sampled replies per question of a judge that gives no probabilities.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Of the order of options and of sampled replies."
    )


class WriterSettings(JudgeChoice):
    """Which judge writes texts of its own, and at what cost at most."""

    judge: str = Field(
        default="",
        description="Which model writes: the URL of a chat-completions endpoint, "
        "'transformers:ID' (a hub id or folder), or 'backend:source' of a package.",
    )
    max_requests: int | None = Field(
        default=None, ge=1, description="Send no more than so many requests now.  [default: all]"
    )

    def resolve_writer(self) -> JudgeSpec:
        """The judge, if it is one that writes.

        Raises:
            InputError: none is named, or one that only picks among answers; see `resolve`.
        """
        from t2i_spatial.errors import InputError
        from t2i_spatial.judges import JUDGES

        spec = self.resolve() if self.judge else None
        if spec is None or self.judge == "bundled" or not JUDGES[spec.backend].writes:
            problem = (
                f"the judge {self.judge!r} picks among answers and writes no texts"
                if spec
                else "no judge is named"
            )
            raise InputError(
                f"{problem}; --judge takes one that writes: the URL of a chat-completions "
                "endpoint, or transformers:ID"
            )
        return spec


class CaptionerSettings(WriterSettings):
    """Which judge writes captions (`caption: judge`), and at what cost at most."""

    name: TableName | None = Field(
        default=None,
        description="Writes `captions/NAME.parquet`.  [default: made of the name of the judge]",
    )

    @property
    def captions_name(self) -> str:
        """What the captions are called: the name, or one made of the judge."""
        return self.name or short_name(self.judge, self.judge_model)


class DenseSettings(WriterSettings):
    """Which judge writes dense prompts, how many, and of what."""

    cache: Path | None = Field(
        default=None,
        description="Folder of raw replies: what was asked before costs nothing.  [default: "
        "OUTPUT.replies]",
    )
    count: int = Field(default=100, ge=1, le=1_000_000, description="Prompts to be written.")
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Of scenes, points of view, sampled replies, order of options and right "
        "letters.",
    )
    scenes: Path | None = Field(
        default=None, description="File with one type of scene per line.  [default: a list of ours]"
    )
    check: bool = Field(
        default=False,
        description="Keep only prompts whose questions the judge answers rightly when it has the "
        "prompt alone.",
    )


class AskSettings(JudgeSettings):
    """Settings of the ask stage: which judge is asked, for whom, and how often."""

    protocols: Annotated[tuple[str, ...], Option(("--protocol", "-p"), metavar="NAME")] = Field(
        default=(),
        description="Protocol whose questions are asked.  [default: spatial_vqa; in a config file "
        "those of `score`]",
    )
    settings: Annotated[tuple[str, ...], Option(("--set",), metavar="PROTOCOL.KEY=VALUE")] = Field(
        default=(), description="Change a protocol's setting."
    )
    name: TableName | None = Field(
        default=None,
        description="Writes `answers/NAME.parquet`.  [default: made of the name of the judge]",
    )
    rollouts: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Replies per question.  [default: each protocol's own]",
    )
    examination: Path | None = Field(
        default=None,
        description="What `doctor --judge --json` found of this judge; told beside its numbers.  "
        "[default: the last examination of the same judge]",
    )
    max_requests: int | None = Field(
        default=None, ge=1, description="Ask no more than so many questions now.  [default: all]"
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Ask no further questions once so many tokens are used.  [default: no limit]",
    )

    @property
    def answers_name(self) -> str:
        """What the answers are called: the name, or one made of the judge."""
        return self.name or short_name(self.judge, self.judge_model)

    def askers(self) -> list[AnswerMetric]:
        """The protocols whose questions are asked, with their settings.

        Raises:
            InputError: an unknown protocol or setting, or one that asks nothing.
        """
        from t2i_spatial.errors import InputError
        from t2i_spatial.metrics.answers import AnswerMetric
        from t2i_spatial.metrics.base import PROTOCOLS
        from t2i_spatial.stages.protocols import make_protocols

        made = make_protocols(self.protocols or DEFAULT_ASKING, self.settings)
        asking = [protocol for protocol in made if isinstance(protocol, AnswerMetric)]
        if len(asking) < len(made):
            other = next(p.name for p in made if not isinstance(p, AnswerMetric))
            known = [name for name in PROTOCOLS if issubclass(PROTOCOLS[name], AnswerMetric)]
            raise InputError(
                f"{other} judges boxes and asks nothing; protocols that ask: {', '.join(known)}"
            )
        return asking
