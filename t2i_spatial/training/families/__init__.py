"""Model families: one file each where they differ, found by the class of their denoiser."""

from __future__ import annotations

from typing import Any

from t2i_spatial.errors import ModelLoadError
from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text

__all__ = ["FAMILIES", "Family", "Text", "find_family"]


def find_family(pipe: Any) -> Family:
    """The family of a loaded pipeline.

    Raises:
        ModelLoadError: a pipeline that cannot be fine-tuned here, or that two families claim.
    """
    families = [FAMILIES[name] for name in FAMILIES]
    found = [family for family in families if family.fits(pipe)]
    if not found or getattr(pipe, "vae", None) is None:
        known = ", ".join(sorted({family.title for family in families}, key=str.lower))
        raise ModelLoadError(f"{type(pipe).__name__} cannot be fine-tuned; known are {known}")
    if len(found) > 1:
        names = " and ".join(repr(family.name) for family in found)
        raise ModelLoadError(f"{type(pipe).__name__} is claimed by the model families {names}")
    return found[0](pipe)
