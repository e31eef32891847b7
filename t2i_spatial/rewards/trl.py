"""A reward function as TRL's trainers call it.

Call form: TRL's `reward_funcs`, `f(prompts, completions, **columns) -> list[float | None]`, where
`None` means that the reward does not apply to the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.scoring.core import Scorer


def reward_function(
    scorer: Scorer, *, scene_column: str | None = None, name: str = "spatial_reward"
) -> Callable[..., list[float | None]]:
    """A function for `GRPOTrainer(reward_funcs=[...])` and its kin.

    A completion is a picture, an array, or chat messages of which the last picture counts; a
    prompt is a text or chat messages, of which the last user text counts.

    Args:
        scorer: `LocalScorer(...)` or `Client(url)`.
        scene_column: data-set column with scenes or GenEval records; without it prompts are
            parsed.
        name: what TRL logs it as.

    Raises (the function):
        InputError: a completion without a picture, or no such column.
    """

    def fn(
        prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        if scene_column is None:
            asked = [_text(prompt) for prompt in prompts]
        elif scene_column in columns:
            asked = list(columns[scene_column])
        else:
            raise InputError(f"no column {scene_column!r}; there are {sorted(columns)}")
        items = scorer([_picture(c, i) for i, c in enumerate(completions)], asked)
        return [item.reward for item in items]

    fn.__name__ = name
    return fn


def _text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    for message in reversed(prompt):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            texts = [part["text"] for part in content if part.get("type") == "text"]
            if texts:
                return str(texts[-1])
    raise InputError("a prompt has no user text")


def _picture(completion: Any, number: int) -> Any:
    if isinstance(completion, Image.Image) or hasattr(completion, "ndim"):
        return completion
    if isinstance(completion, Mapping) and completion.get("type") == "image":
        return completion.get("image")
    if isinstance(completion, Sequence) and not isinstance(completion, str):
        for message in reversed(completion):
            content = message.get("content") if isinstance(message, Mapping) else message
            parts = content if isinstance(content, list) else [content]
            for part in reversed(parts):
                if isinstance(part, Image.Image):
                    return part
                if isinstance(part, Mapping) and isinstance(part.get("image"), Image.Image):
                    return part["image"]
    raise InputError(f"completion {number} holds no picture")
