"""Whether a pipeline does what was planned, found out before hours are spent on it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.generation.generator import FLAT, Generated, Generator, Sampling

_BRIEF = 2
LOOKED_AT = 1000
"""So many texts are searched for two that differ."""


def check_text_matters(generator: Generator, texts: Sequence[str], sampling: Sampling) -> None:
    """Make two images of one seed and two texts, in two steps, and compare them.

    Nothing is done where all texts are alike. The images also show whether the pipeline makes the
    planned size.

    Raises:
        InputError: as `Generator.__call__`.
        T2ISpatialError: the two images are the same.
    """
    pair = unlike(texts)
    if pair is None:
        return
    brief = dataclasses.replace(sampling, steps=min(_BRIEF, sampling.steps or _BRIEF))
    made = [generator([text], [0], brief)[0].image for text in pair]
    if made[0] is None or made[1] is None:
        return  # the first batch says so, and may fare better with all its steps
    first, second = (np.asarray(image) for image in made)
    if np.array_equal(first, second) and np.ptp(first, axis=(0, 1)).any():
        raise T2ISpatialError(
            f"{generator.source.name!r} makes the same image of two prompts and one seed "
            f"({_short(pair[0])}, {_short(pair[1])}): the text does not reach it, as when a text "
            "encoder's weights are missing"
        )


def check_pictures(results: Sequence[Generated], what: str) -> None:
    """Stop where no image of a first batch shows anything.

    Raises:
        T2ISpatialError: all are of one colour, each.
    """
    if results and all(result.reason == FLAT for result in results):
        raise T2ISpatialError(
            f"{FLAT}: every image of {what}; with --dtype float16 try bfloat16 or float32, else "
            "the weights, the VAE or --steps and --guidance-scale do not suit the model"
        )


def unlike(texts: Sequence[str]) -> tuple[str, str] | None:
    """The first text and one that differs from it early, so that no tokenizer cuts both alike.

    >>> unlike(["a cat", "a cat", "a dog", "the dog"])
    ('a cat', 'the dog')
    """
    others = [text for text in dict.fromkeys(texts[:LOOKED_AT]) if text != texts[0]]
    if not others:
        return None

    def shared(text: str) -> int:
        same = (a == b for a, b in zip(text, texts[0], strict=False))
        return sum(itertools.takewhile(bool, same))

    return texts[0], min(others, key=shared)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
