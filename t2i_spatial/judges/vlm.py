"""A vision-language model in this process, through transformers.

    t2i-spatial ask run --judge transformers:Qwen/Qwen3-VL-2B-Instruct

Probabilities are those of raw logits at the answer position (no temperature, no penalties), from
one forward pass without generation. The image is encoded once for all its questions: they share
the part of the conversation before them, whose keys and values are kept.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from t2i_spatial.detectors.loading import load_model, load_part, read_config, weights_hash
from t2i_spatial.devices import is_out_of_memory
from t2i_spatial.errors import InputError, ModelLoadError, require
from t2i_spatial.images import ImageUnreadableError
from t2i_spatial.judges import JUDGES
from t2i_spatial.judges.base import (
    Asked,
    Judge,
    JudgeSpec,
    Picture,
    Reply,
    checked_options,
    understood,
)
from t2i_spatial.judges.replies import Probabilities, from_raw, spellings
from t2i_spatial.questions import TEMPLATES, Question
from t2i_spatial.settings import Settings
from t2i_spatial.tables import IMAGE_UNREADABLE

if TYPE_CHECKING:
    import torch


class LocalOptions(Settings):
    """Settings of a judge in this process."""

    batch_size: int = Field(default=16, ge=1, le=4096, description="Questions per forward pass.")


HERE = "\u241f\u241f"
"""Stands for the question while the conversation before it is looked for."""


@JUDGES.register("transformers")
class TransformersJudge(Judge):
    """Any `AutoModelForImageTextToText` with a chat template.

    Raises:
        ModelLoadError: not there, no such model, no chat template, or weights that do not fit.
    """

    on_device = True
    writes = True

    def __init__(self, spec: JudgeSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        transformers: Any = require("transformers", "detect")
        config, commit = read_config(spec.source, spec.revision)
        self.spec = JudgeSpec(
            spec.spec,
            spec.backend,
            spec.source,
            spec.model,
            commit,
            weights_hash(spec.source),
            spec.dtype,
            self.check_options(spec.options),
        )
        kinds = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if config.get("model_type") not in kinds:
            raise ModelLoadError(
                f"{spec.source!r} is a {config.get('model_type')!r} model, which answers no "
                "questions about images"
            )
        self.processor = load_part(transformers.AutoProcessor, spec.source, commit)
        if not getattr(self.processor, "chat_template", None):
            raise ModelLoadError(f"{spec.source!r} has no chat template, so it cannot be asked")
        self.tokenizer = self.processor.tokenizer
        self.model = load_model(
            transformers.AutoModelForImageTextToText,
            spec.source,
            commit,
            device,
            dtype=spec.dtype,
        )
        self.gives_probabilities = True
        self._ids: dict[tuple[str, int], dict[str, list[int]]] = {}

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with defaults; see `LocalOptions`."""
        return checked_options(LocalOptions, options, "a local judge").model_dump()

    def ask(self, picture: Picture, asked: Sequence[Asked]) -> list[Reply]:
        """All questions about one picture; those with listed answers share the encoded image."""
        try:
            image = picture.decoded()
        except ImageUnreadableError as error:
            return [Reply.failed(str(error), status=IMAGE_UNREADABLE)] * len(asked)
        replies: dict[int, Reply] = {}
        groups: dict[tuple[str | None, bool], list[int]] = {}
        for k, one in enumerate(asked):
            template = TEMPLATES[one.question.template]
            if one.question.kind in ("letters", "text"):
                replies[k] = self._said(image, one)
            else:
                groups.setdefault((template.system, template.image_first), []).append(k)
        for members in groups.values():
            chosen = [asked[k] for k in members]
            replies.update(zip(members, self._chosen(image, chosen), strict=True))
        return [replies[k] for k in range(len(asked))]

    def say(self, asked: Sequence[Asked]) -> list[Reply]:
        """What the model says without a picture."""
        return [self._said(None, one) for one in asked]

    # -- probabilities ------------------------------------------------------------------------

    def _chosen(self, image: Any, asked: Sequence[Asked]) -> list[Reply]:
        started = time.monotonic()
        size = int(self.spec.options["batch_size"])
        try:
            logits = self.logits(image, asked, size)
        except (RuntimeError, ValueError, MemoryError) as error:
            if is_out_of_memory(error) and len(asked) > 1:
                half = len(asked) // 2
                return [*self._chosen(image, asked[:half]), *self._chosen(image, asked[half:])]
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return [Reply.failed(lines[0])] * len(asked)
        chances = logits.float().log_softmax(-1).exp().cpu()
        return [
            understood(one, None, self._probabilities(row, one.question), started=started)
            if bool(row.isfinite().all())
            else Reply.failed(f"the model's numbers are not finite ({self.spec.dtype})")
            for one, row in zip(asked, chances, strict=True)
        ]

    def logits(self, image: Any, asked: Sequence[Asked], batch_size: int) -> torch.Tensor:
        """Raw logits at the answer position, (n, vocabulary), of n questions of one template."""
        torch = require("torch", "detect")
        before, after = self._around(asked[0])
        texts = [one.text + after for one in asked]
        with torch.inference_mode():
            if TEMPLATES[asked[0].question.template].image_first and self._splits(before, texts[0]):
                return self._with_shared_start(image, before, texts, batch_size)
            return torch.cat(
                [
                    self._whole(image, [before + text for text in texts[k : k + batch_size]])
                    for k in range(0, len(texts), batch_size)
                ]
            )

    def _around(self, asked: Asked, *, image: bool = True) -> tuple[str, str]:
        """The conversation before and after the text of a question."""
        template = TEMPLATES[asked.question.template]
        parts = [{"type": "image"}] * image + [{"type": "text", "text": HERE}]
        if not template.image_first:
            parts.reverse()
        messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
        if template.system is not None:
            system = {"type": "text", "text": template.system}
            messages.insert(0, {"role": "system", "content": [system]})
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        before, _, after = text.partition(HERE)
        return before, after

    def _splits(self, before: str, text: str) -> bool:
        """Whether the tokens of the whole are those of the two parts, so that they may be split."""

        def ids(part: str, special: bool = False) -> list[int]:
            return list(self.tokenizer(part, add_special_tokens=special)["input_ids"])

        return ids(before + text, True) == ids(before, True) + ids(text)

    def _with_shared_start(
        self, image: Any, before: str, texts: Sequence[str], batch_size: int
    ) -> torch.Tensor:
        torch = require("torch", "detect")
        start = self._inputs([image], [before])
        done = self.model(**start, use_cache=True, logits_to_keep=1)
        rows = []
        for k in range(0, len(texts), batch_size):
            some = texts[k : k + batch_size]
            ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in some]
            longest = max(map(len, ids))
            fill = self.tokenizer.pad_token_id or 0
            padded = torch.tensor([row + [fill] * (longest - len(row)) for row in ids])
            last = torch.tensor([len(row) - 1 for row in ids])
            cache = copy.deepcopy(done.past_key_values)
            cache.batch_repeat_interleave(len(some))
            # a vocabulary is wide: only places where some question ends are multiplied with it
            ends, place = last.unique(return_inverse=True)
            # no mask: what is filled in stands behind each question, where nothing looks at it, and
            # models that count positions from a mask would count those of the image again
            out = self.model(
                input_ids=padded.to(self.device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=ends.to(self.device),
            )
            rows.append(out.logits[torch.arange(len(some)), place.to(out.logits.device)])
        return torch.cat(rows)

    def _whole(self, image: Any, texts: Sequence[str]) -> torch.Tensor:
        inputs = self._inputs([image] * len(texts), texts)
        logits: torch.Tensor = self.model(**inputs, logits_to_keep=1).logits[:, -1]
        return logits

    def _inputs(self, images: Sequence[Any] | None, texts: Sequence[str]) -> Any:
        return self.processor(
            images=None if images is None else [[image] for image in images],
            text=list(texts),
            return_tensors="pt",
            padding=True,
            padding_side="left",
        ).to(self.device)

    def _probabilities(self, chances: torch.Tensor, question: Question) -> Probabilities | None:
        allowed = self._allowed(question)
        return from_raw(
            {answer: float(chances[ids].sum()) for answer, ids in allowed.items()}, question
        )

    def _allowed(self, question: Question) -> dict[str, list[int]]:
        """Allowed answer -> token ids of its spellings, with and without a blank before them.

        A spelling counts if it is one token that is no blank and belongs to one answer only.
        """
        key = (question.kind, len(question.options))
        if key not in self._ids:
            found: dict[str, set[int]] = {}
            for answer, ways in spellings(question).items():
                tokens = [
                    self.tokenizer(blank + way, add_special_tokens=False)["input_ids"]
                    for way in ways
                    for blank in ("", " ")
                ]
                found[answer] = {t[0] for t in tokens if len(t) == 1 and self._says(t[0])}
            shared = {
                token
                for answer, ids in found.items()
                for token in ids
                if any(token in other for name, other in found.items() if name != answer)
            }
            ids = {answer: sorted(own - shared) for answer, own in found.items()}
            if question.kind == "count":
                ids = {answer: own for answer, own in ids.items() if own}
            if not all(ids.values()):
                lacking = next(answer for answer, own in ids.items() if not own)
                raise InputError(f"{self.spec.spec!r} has no single token for {lacking!r}")
            self._ids[key] = ids
        return self._ids[key]

    def _says(self, token: int) -> bool:
        return bool(self.tokenizer.decode([token]).strip())

    # -- text ---------------------------------------------------------------------------------

    def _said(self, image: Any, asked: Asked) -> Reply:
        torch = require("torch", "detect")
        started = time.monotonic()
        template = TEMPLATES[asked.question.template]
        before, after = self._around(asked, image=image is not None)
        inputs = self._inputs(None if image is None else [image], [before + asked.text + after])
        sampled = template.temperature > 0
        options: dict[str, Any] = {"do_sample": sampled, "max_new_tokens": template.max_tokens}
        if sampled:
            options |= {"temperature": template.temperature, "top_k": 0, "top_p": 1.0}
        device = torch.device(self.device)
        try:
            with (
                torch.inference_mode(),
                torch.random.fork_rng([device] if device.type == "cuda" else []),
            ):
                torch.manual_seed((asked.seed * 1_000_003 + asked.rollout) % 2**63)
                made = self.model.generate(**inputs, **options)
        except (RuntimeError, ValueError, MemoryError) as error:
            return Reply.failed(str(error).strip().splitlines()[0])
        own = made[0, inputs["input_ids"].shape[1] :]
        ends = self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        finished = len(own) < template.max_tokens or int(own[-1]) in ends
        text = self.tokenizer.decode(own, skip_special_tokens=True)
        return understood(
            asked, text, finished=finished, tokens=int(made.shape[1]), started=started
        )
