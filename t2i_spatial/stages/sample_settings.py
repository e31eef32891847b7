"""What `prompts sample` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from t2i_spatial.prompts import sample_scenes, split_prompts
from t2i_spatial.prompts.sampling import options_for, read_vocabulary
from t2i_spatial.scene import Prompt
from t2i_spatial.settings import Option, Settings


class SampleSettings(Settings):
    """Which new scenes, how many, and in how many wordings."""

    count: int = Field(default=100, ge=1, description="Number of scenes.")
    difficulty: Literal["easy", "medium", "hard"] = Field(
        default="easy",
        description="easy: 2 objects, 1 relation; medium: 3, 2 and some colours; hard: 4, 4, "
        "counts, colours.",
    )
    objects: int | None = Field(
        default=None, ge=1, description="Objects per scene.  [default: preset]"
    )
    relations: int | None = Field(
        default=None, ge=0, description="Relations per scene.  [default: preset]"
    )
    relation_names: Annotated[tuple[str, ...], Option(("--relation",), metavar="TEXT")] = Field(
        default=(),
        description="A relation to use.  [default: left of, right of, above, below]",
    )
    vocabulary: Path | None = Field(
        default=None, description="Nouns, singular, one per line.  [default: the 80 COCO classes]"
    )
    max_count: int | None = Field(
        default=None, ge=1, le=20, description="Most of a kind.  [default: preset]"
    )
    colors: bool | None = Field(default=None, description="Give colours.  [default: preset]")
    wordings: int = Field(default=1, ge=1, description="Prompts per scene.")
    held_out: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of object sets that goes to --held-out-output instead.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of what is drawn at random.")

    def draw(self) -> tuple[list[Prompt], list[Prompt]]:
        """The prompts, and those that are held out.

        Raises:
            InputError: a relation or vocabulary that is none, or more scenes than there are.
        """
        options = options_for(
            self.difficulty,
            n_objects=self.objects,
            n_relations=self.relations,
            relations=self.relation_names or None,
            vocabulary=None if self.vocabulary is None else read_vocabulary(self.vocabulary),
            max_count=self.max_count,
            colors=self.colors,
        )
        prompts = sample_scenes(self.count, options, seed=self.seed, wordings=self.wordings)
        if self.held_out is None:
            return prompts, []
        return split_prompts(prompts, self.held_out, self.seed)
