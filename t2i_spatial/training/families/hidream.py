"""HiDream-I1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.text import Text


@FAMILIES.register("hidream")
class HiDream(Family):
    """A transformer of routed experts that reads two CLIPs, T5, and every layer of Llama.

    As `HiDreamImagePipeline` of diffusers 0.42 calls it and its training script
    (`train_dreambooth_lora_hidream.py` at 58eb52c) does: 128 tokens of each encoder, padding
    included, times from 0 to 1000, a network that predicts image - noise, uniform noise levels, no
    auxiliary loss that balances the experts.
    """

    title = "HiDream"
    denoisers = ("HiDreamImageTransformer2DModel",)
    attention = ("to_q", "to_k", "to_v", "to_out")
    mlp = ("w1", "w2", "w3")
    _learning: nn.Module | None = None

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        t5, _, llama, _, pooled, _ = self.pipe.encode_prompt(
            list(texts),
            device=self.text_device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.call_default("max_sequence_length"),
        )
        return {"t5": t5, "llama": llama.transpose(0, 1), "pooled": pooled}

    @override
    def longest_caption(self) -> tuple[Any, int]:
        return self.pipe.tokenizer_4, self.call_default("max_sequence_length")

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        if self._learning is not self.denoiser:
            _learn_through_experts(self.denoiser)
            self._learning = self.denoiser
        output: Tensor = self.denoiser(
            hidden_states=noisy,
            timesteps=time,
            encoder_hidden_states_t5=text["t5"],
            encoder_hidden_states_llama3=text["llama"].transpose(0, 1),
            pooled_embeds=text["pooled"],
            return_dict=False,
        )[0]
        return -output

    @override
    def mu(self, tokens: int) -> float:
        return super().mu(self.denoiser.max_seq)  # the pipeline's is of the largest picture


def _learn_through_experts(transformer: nn.Module) -> None:
    """Let the gradient pass the routed experts.

    diffusers computes them without one unless the whole transformer is in its training mode, which
    returns another form of output; its own script trains around them.
    """
    for block in transformer.modules():
        if hasattr(block, "moe_infer"):
            block.moe_infer = MethodType(_routed, block)


def _routed(block: Any, tokens: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
    """`moe_infer` of diffusers' `MOEFeedForwardSwiGLU`, the same numbers with a gradient.

    Args:
        tokens: (tokens, channels).
        experts: the experts of each token, one token after the other.
        weights: (tokens x experts of each, 1).
    """
    mixed = torch.zeros_like(tokens)
    for number, expert in enumerate(block.experts):
        places = (experts == number).nonzero().flatten()
        if len(places):
            rows = places // block.num_activated_experts
            weighted = expert(tokens[rows]) * weights[places]
            mixed = mixed.index_add(0, rows, weighted.to(mixed.dtype))
    return mixed
