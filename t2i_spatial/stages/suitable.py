"""Is the detector that nobody named fit for these images?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from t2i_spatial.errors import InputError
from t2i_spatial.progress import note
from t2i_spatial.stages.stage_settings import DetectorSettings

BUNDLED = "bundled"


def check_detector(settings: DetectorSettings, model: str | None) -> None:
    """Refuse the bundled detector for images it was not made for, unless it was asked for by name.

    It knows two dozen nouns as drawings. On anything else it finds nothing or nonsense, and the
    scores would look like those of any other detector.

    Args:
        model: the generator of the images, `None` for images of other origin.

    Raises:
        InputError: the default is left to decide about images that the bundled model did not make.
    """
    if settings.detector != BUNDLED or settings.names("detector") or model == BUNDLED:
        return
    made = "images of other origin" if model is None else f"images of {model}"
    raise InputError(
        f"no detector is named, and the bundled one knows only its own drawings, not {made}: give "
        "--detector (in a config file: detect.detector), such as google/owlvit-base-patch32 or "
        "IDEA-Research/grounding-dino-tiny; --detector bundled takes it all the same"
    )


def note_unknown(asked: Collection[Iterable[str]]) -> None:
    """Say how many prompts name objects that the bundled models cannot draw or find.

    Args:
        asked: per prompt, the names of its objects.
    """
    from t2i_spatial.bundled import NOUNS

    others = [set(names) - set(NOUNS) for names in asked]
    if count := sum(map(bool, others)):
        some = ", ".join(sorted(set().union(*others))[:3])
        note(
            f"{count:,} of {len(asked):,} prompts name objects that the bundled models have "
            f"never seen ({some} ...); `t2i-spatial prompts sr2d --nouns bundled` has none"
        )
