"""AuraFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, JOINT_ATTENTION, Family
from t2i_spatial.training.families.text import Text, with_zeros, without_zeros

_FEED_FORWARD = ("linear_1", "linear_2", "out_projection")


@FAMILIES.register("aura_flow")
class AuraFlow(Family):
    """AuraFlow: text of Pile-T5, zero where it is padding, which attention reads all the same.

    Levels are logit-normal, as in its author's `rf.py` (github.com/cloneofsimo/minRF).
    """

    title = "AuraFlow"
    denoisers = ("AuraFlowTransformer2DModel",)
    levels = "logit_normal"
    attention = JOINT_ATTENTION
    mlp = tuple(f"{part}.{layer}" for part in ("ff", "ff_context") for layer in _FEED_FORWARD)

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        text, *_ = self.pipe.encode_prompt(
            list(texts),
            do_classifier_free_guidance=False,
            device=self.text_device,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return without_zeros(text)

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.denoiser(
            noisy,
            encoder_hidden_states=with_zeros(text, self.call_default("max_sequence_length")),
            timestep=time / 1000,
            return_dict=False,
        )[0]
        return output
