"""A judge examined: on drawings whose truth is known and on questions that others published."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2i_spatial._version import __version__
from t2i_spatial.devices import resolve_devices
from t2i_spatial.interchange.vqa import VQA_SETS, Item, VqaSet
from t2i_spatial.judges import load_judge
from t2i_spatial.judges.examination import Examination, as_text, examine
from t2i_spatial.judges.qualification import Qualification, qualify, sampled
from t2i_spatial.judges.qualification import as_text as set_text
from t2i_spatial.questions import LETTER, NUMBER, YES_NO
from t2i_spatial.stages.ask_settings import JudgeSettings


@dataclass(frozen=True)
class Sets:
    """Published sets that a judge is measured on.

    Attributes:
        places: name of a set -> its folder or file.
        circular: show the options of every choice in all their rotations.
        limit: about so many questions of each set at most.
    """

    places: Mapping[str, Path] = field(default_factory=dict)
    circular: bool = False
    limit: int | None = None

    def read(self, seed: int) -> list[tuple[VqaSet, list[Item]]]:
        """The sets and what is asked of each.

        Raises:
            InputError: an unknown set, or files that are not of it.
        """
        read = []
        for name, place in self.places.items():
            source = VQA_SETS[name]()
            read.append((source, sampled(source.read(place), self.limit, seed)))
        return read


@dataclass(frozen=True)
class Findings:
    """What is known of a judge.

    Attributes:
        plan: of the judge.
        drawings: how it did on drawings of known truth.
        sets: name of a published set -> how it did there.
    """

    plan: dict[str, Any]
    drawings: Examination
    sets: dict[str, Qualification]

    @property
    def missing(self) -> int:
        """Pictures of the sets that are not there."""
        return sum(len(found.missing) for found in self.sets.values())

    def to_dict(self) -> dict[str, Any]:
        """For `--json`, and to be stored (see `examinations`)."""
        of_sets = {name: found.to_dict() for name, found in self.sets.items()}
        return {
            "judge": self.plan,
            "templates": [YES_NO.name, LETTER.name, NUMBER.name],
            "examined": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "version": __version__,
            **self.drawings.to_dict(),
            **({"sets": of_sets} if of_sets else {}),
        }

    def as_text(self, name: str) -> str:
        """For a person."""
        parts = [set_text(found) for found in self.sets.values()]
        return "\n".join([as_text(name, self.drawings), *parts])


def examine_judge(settings: JudgeSettings, *, pairs: int = 8, sets: Sets | None = None) -> Findings:
    """Ask a judge about drawings, and about the questions of published sets.

    Raises:
        InputError: an unknown set, or files that are not of it.
        JudgeError, ModelLoadError: the judge cannot be asked.
    """
    chosen = sets or Sets()
    read = chosen.read(settings.seed)
    judge = load_judge(settings.resolve(), device=resolve_devices(settings.device)[0])
    try:
        with tempfile.TemporaryDirectory(prefix="t2i-spatial-doctor-") as folder:
            drawings = examine(
                judge, Path(folder), pairs=pairs, seed=settings.seed, votes=settings.votes
            )
        found = {
            source.name: qualify(
                judge,
                source,
                items,
                circular=chosen.circular,
                votes=settings.votes,
                seed=settings.seed,
            )
            for source, items in read
        }
        return Findings(judge.plan(), drawings, found)
    finally:
        judge.close()
