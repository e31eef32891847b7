"""A stock CLIP tokenizer with a vocabulary of our own: every known word is one token.

Words outside the list fall back to characters and bytes, so any text tokenises. The byte-pair
merges are learnt on the word list itself until every word is one symbol.
"""

from __future__ import annotations

import itertools
from collections import Counter

from transformers import CLIPTokenizer
from transformers.models.clip.tokenization_clip import CLIPTokenizer as _CLIPTokenizer

from t2i_spatial.bundled.scene_captions import NUMBERS, PHRASES, PREFIXES, plural
from t2i_spatial.bundled.scenes import COLOURS, NOUNS

OTHER_COCO_NOUNS = (
    "person", "bicycle", "motorcycle", "train", "truck", "traffic light", "fire hydrant",
    "stop sign", "parking meter", "bench", "horse", "sheep", "cow", "bear", "backpack",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "fork", "knife", "spoon", "bowl", "sandwich", "orange", "hot dog", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "vase", "scissors",
    "hair drier", "toothbrush",
)  # fmt: skip
OTHER_WORDS = (
    "the and of with in on at is are one four five there side big small little red orange brown "
    "gray grey front behind near beside between top bottom scene image picture photo drawing "
    "emoji next to two three an a , . left right"
)  # fmt: skip


def byte_symbols() -> list[str]:
    """Return CLIP's 256 printable stand-ins for bytes, in its order ('!' first)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [value for value in range(256) if value not in kept]
    return [chr(value) for value in kept] + [chr(256 + index) for index in range(len(moved))]


def words() -> list[str]:
    """Return every word that gets a token of its own, sorted."""
    text = [*NOUNS, *map(plural, NOUNS), *OTHER_COCO_NOUNS, *map(plural, OTHER_COCO_NOUNS)]
    text += [*COLOURS, *NUMBERS.values(), *PREFIXES, OTHER_WORDS]
    text += [phrase for phrases in PHRASES.values() for phrase in phrases]
    return sorted(set(" ".join(text).split()))


def learn_merges(vocabulary: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that turn each word of the list into one symbol."""
    split = [[*word[:-1], word[-1] + "</w>"] for word in vocabulary]
    merges = []
    while True:
        pairs = Counter(pair for word in split for pair in itertools.pairwise(word))
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in split:
            index = 0
            while index < len(word) - 1:
                if (word[index], word[index + 1]) == best:
                    word[index : index + 2] = ["".join(best)]
                index += 1


def build_tokenizer(length: int, pad_token: str) -> CLIPTokenizer:
    """Build the tokenizer; the end token has the highest id, as CLIP's pooling expects."""
    merges = learn_merges(words())
    symbols = byte_symbols()
    symbols += [symbol + "</w>" for symbol in symbols] + ["".join(merge) for merge in merges]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    tokenizer = _CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token)
    tokenizer.model_max_length = length
    return tokenizer
