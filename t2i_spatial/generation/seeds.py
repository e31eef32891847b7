"""What follows from a prompt id and a sample number alone: the seed and the file name."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_LONGEST = 180


def image_seed(run_seed: int, prompt_id: str, sample: int) -> int:
    """The seed of one image: 63 bits of BLAKE2b over `run seed, prompt id, sample`.

    It depends on nothing else, so order, batch size, device count and resuming do not matter.

    >>> image_seed(0, "42", 0)
    5077676633772579466
    """
    text = f"{run_seed}\n{prompt_id}\n{sample}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def image_name(prompt_id: str, sample: int) -> str:
    """The file name `<prompt id>_<sample>.png`, safe on every file system.

    Characters other than letters, digits and `_.-~` are percent-encoded; an id longer than 180
    characters in that form is cut and completed by a hash.

    >>> image_name("42", 0), image_name("a/b c", 3)
    ('42_0.png', 'a%2Fb%20c_3.png')
    """
    name = quote(prompt_id, safe="")
    if len(name) > _LONGEST:
        digest = hashlib.blake2b(prompt_id.encode(), digest_size=8).hexdigest()
        name = f"{name[:_LONGEST]}-{digest}"
    return f"{name}_{sample}.png"


def image_place(prompt_id: str, sample: int, *, many: bool = False) -> str:
    """Where an image lies in its run: in `images/`, or spread over 256 folders when there are many.

    Images of one prompt lie together.

    >>> image_place("42", 0), image_place("42", 0, many=True)
    ('images/42_0.png', 'images/e7/42_0.png')
    """
    name = image_name(prompt_id, sample)
    if not many:
        return f"images/{name}"
    return f"images/{hashlib.blake2b(prompt_id.encode(), digest_size=1).hexdigest()}/{name}"
