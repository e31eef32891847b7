"""CogView4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from t2i_spatial.training.families.base import FAMILIES, Family
from t2i_spatial.training.families.noise_levels import unshifted
from t2i_spatial.training.families.text import Text, join, mask_of


@FAMILIES.register("cogview4")
class CogView4(Family):
    """CogView4: GLM's text in lengths that are multiples of 16, and SDXL's size conditioning.

    Follows diffusers' `examples/cogview4-control/train_control_cogview4.py`: levels are drawn
    uniformly and shifted by the square root of the number of tokens, while the network is told the
    time before the shift. Captions are encoded one by one: GLM pads on the left and reads the
    padding, so those of one batch would change one another.
    """

    title = "CogView4"
    denoisers = ("CogView4Transformer2DModel",)

    @override
    def encode(self, texts: Sequence[str]) -> Text:
        encoded = [
            self.pipe.encode_prompt(
                text,
                do_classifier_free_guidance=False,
                device=self.text_device,
                max_sequence_length=self.call_default("max_sequence_length"),
            )[0][0]
            for text in texts
        ]
        return join([{"text": text} for text in encoded])

    @override
    def mu(self, tokens: int) -> float:
        config = self.pipe.scheduler.config
        low, high = config.get("base_shift", 0.25), config.get("max_shift", 0.75)
        return float(low + high * math.sqrt(tokens / config.get("base_image_seq_len", 256)))

    @override
    def predict(self, noisy: Tensor, time: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        height, width = noisy.shape[-2:]
        told = 1000 * unshifted(time / 1000, self.shift(height, width))
        size = noisy.new_tensor([height, width]) * self.pixels_per_latent
        lengths = mask_of(text, "text").sum(1)
        output = torch.empty_like(noisy)
        # one length at a time: diffusers 0.42 adds its mask to the scores, which hides nothing
        for length in lengths.unique().tolist():
            rows = lengths == length
            sizes = size.expand(int(rows.sum()), -1)
            output[rows] = self.denoiser(
                noisy[rows],
                encoder_hidden_states=text["text"][rows, :length],
                timestep=told[rows],
                original_size=sizes,
                target_size=sizes,
                crop_coords=torch.zeros_like(sizes),
                return_dict=False,
            )[0].to(output.dtype)
        return output
