"""Old places of modules: they keep working for one release, with a `DeprecationWarning`.

A row of `MOVED` is an old module, its new place, and the names that changed with it. An old module
is made when it is imported and hands out what the new one has, so classes and constants are the
same objects at both places.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED: Mapping[str, str] = {
    "api": "scoring.api",
    "bundled.captions": "bundled.scene_captions",
    "curation.captions": "curation.box_captions",
    "curation.coco": "curation.coco_annotations",
    "curation.filters.agreement": "curation.filters.external_scores",
    "curation.pipeline": "curation.selection",
    "curation.scop": "curation.object_pairs",
    "curation.seeded": "curation.random_order",
    "detectors.adapters": "detectors.conversions",
    "detectors.clip_score": "detectors.clip_scorer",
    "detectors.depth": "detectors.depth_estimation",
    "detectors.phrases": "detectors.phrase_grounding",
    "detectors.protocol": "detectors.base",
    "interchange.coco": "interchange.coco_export",
    "interchange.geneval": "interchange.geneval_export",
    "interchange.visor": "interchange.visor_export",
    "metrics.given": "metrics.inputs",
    "metrics.paired": "statistics.paired",
    "metrics.power": "statistics.power",
    "metrics.protocol": "metrics.base",
    "metrics.rates": "metrics.numbers",
    "metrics.sequential": "statistics.sequential",
    "metrics.spatial_rules": "metrics.rules.spatial",
    "metrics.statistics": "statistics.intervals",
    "prompts.layout": "prompts.witness_layout",
    "prompts.readers.geneval": "prompts.readers.geneval_metadata",
    "prompts.readers.sr2d": "prompts.readers.visor_phrases",
    "rewards.core": "scoring.core",
    "rewards.requests": "scoring.requests",
    "rewards.server.settings": "rewards.server.server_settings",
    "stages.adaptive": "stages.early_stopping.judge",
    "stages.agree": "stages.agreement",
    "stages.annotate": "stages.box_values",
    "stages.candidates": "stages.curation_sources",
    "stages.looks": "stages.early_stopping.sources",
    "stages.ordering": "statistics.sequential",
    "stages.until": "stages.early_stopping.stage",
    "training.adapters": "training.lora_layers",
    "training.cache": "training.latent_cache",
    "training.settings": "training.hyperparameters",
}
"""Old module -> new one, both without `t2i_spatial.`."""

RENAMED: Mapping[str, Mapping[str, str]] = {
    "curation.seeded": {"seeded_numbers": "random_order"},
    "metrics.given": {"given_tables": "input_tables"},
    "metrics.protocol": {"Protocol": "Metric"},
    "stages.adaptive": {"judge_until": "judge_to_precision"},
    "stages.annotate": {"annotate_run": "add_box_values", "Annotator": "BoxModel"},
    "stages.until": {"score_until": "score_to_precision"},
}
"""Old module -> old name in it -> new name."""


class _OldPlace(Loader):
    """Makes the module of an old place."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        old = spec.name.removeprefix("t2i_spatial.")
        place = f"t2i_spatial.{MOVED[old]}"
        warnings.warn(
            f"{spec.name} is now {place}; the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        new = importlib.import_module(place)
        renamed = RENAMED.get(old, {})
        module = ModuleType(spec.name, f"Now `{place}`.")

        def __getattr__(name: str) -> Any:
            return getattr(new, renamed.get(name, name))

        public = [name for name in vars(new) if not name.startswith("_")]
        vars(module).update(__getattr__=__getattr__, __all__=[*public, *renamed])
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The module is complete as it was made."""


class _OldPlaces(MetaPathFinder):
    """Asked last, for what is nowhere else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.removeprefix("t2i_spatial.") in MOVED and fullname.startswith("t2i_spatial."):
            return ModuleSpec(fullname, _OldPlace(), origin="t2i_spatial._moved")
        return None


def install() -> None:
    """Let the import system find the old places; done once."""
    if not any(isinstance(finder, _OldPlaces) for finder in sys.meta_path):
        sys.meta_path.append(_OldPlaces())
