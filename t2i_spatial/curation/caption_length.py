"""How long a caption may be: what the trainer's text encoder reads, and how tokens are counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from t2i_spatial.curation.box_captions import CLIP_TOKENS, count_tokens

T5_TOKENS = 512
PIPELINE_TOKENS = {
    "FluxPipeline": 512,
    "FluxKontextPipeline": 512,
    "ChromaPipeline": 512,
    "WanPipeline": 512,
    "PixArtSigmaPipeline": 300,
    "StableDiffusion3Pipeline": 256,
    "AuraFlowPipeline": 256,
    "HiDreamImagePipeline": 128,
    "PixArtAlphaPipeline": 120,
}
"""What pipelines with a T5 encoder read of a prompt by default (diffusers 0.42); all others are
taken for ones of CLIP."""

WORDS_PER_TOKEN = 0.7
"""Words of English that a token holds, rounded down: CLIP's 75 tokens of text are some 55 words."""

_PIECES = re.compile(r"[^\W_]+|[^\s\w]|_")


def count_t5_tokens(text: str) -> int:
    """An estimate of T5 tokens, the end mark included, that is rather too high than too low.

    Punctuation counts one; a word counts one for every four letters that it begins.

    >>> count_t5_tokens("a cat to the left of a dog.")
    10
    """
    return 1 + sum(1 + (len(piece) - 1) // 4 for piece in _PIECES.findall(text))


@dataclass(frozen=True)
class Limit:
    """So many tokens, as a tokenizer counts them or, without one, by an estimate.

    Attributes:
        tokens: what the text encoder reads, its marks included.
        tokenizer: a Hugging Face tokenizer.
    """

    tokens: int = CLIP_TOKENS
    tokenizer: Any = None

    def count(self, text: str) -> int:
        """Tokens of a caption; without a tokenizer CLIP's up to its limit, else T5's."""
        if self.tokenizer is not None or self.tokens <= CLIP_TOKENS:
            return count_tokens(text, self.tokenizer)
        return count_t5_tokens(text)

    @property
    def words(self) -> int:
        """About how many words fit, for a writer who does not count tokens."""
        return max(5, int((self.tokens - 2) * WORDS_PER_TOKEN))


def usual_tokens(tokenizer: Any = None, pipeline: str | None = None) -> int:
    """The limit by model family: of a pipeline's class that is known, else of a tokenizer.

    >>> usual_tokens(pipeline="FluxPipeline"), usual_tokens(pipeline="StableDiffusionPipeline")
    (512, 77)
    """
    other = T5_TOKENS if "T5" in type(tokenizer).__name__ else CLIP_TOKENS
    return PIPELINE_TOKENS.get(pipeline or "", other)
