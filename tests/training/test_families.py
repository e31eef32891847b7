from __future__ import annotations

import pytest
import torch

from t2i_spatial.generation.generator import load_pipeline
from t2i_spatial.generation.resolve import resolve_model
from t2i_spatial.training.families import find_family
from tests.tiny_models import tiny_model


def pipeline(family):
    return load_pipeline(resolve_model(str(tiny_model(family))), None, "fp32")


@pytest.mark.parametrize("zeros", [True, False])
def test_the_empty_caption_of_sdxl_is_what_guidance_sets_captions_against(zeros):
    pipe = pipeline("sdxl")
    pipe.register_to_config(force_zeros_for_empty_prompt=zeros)
    with torch.no_grad():
        ours = find_family(pipe).encode(["a cat", ""])
        text, empty, pooled, empty_pooled = pipe.encode_prompt("a cat")
    assert torch.allclose(ours["text"], torch.cat([text, empty]), atol=1e-5)
    assert torch.allclose(ours["pooled"], torch.cat([pooled, empty_pooled]), atol=1e-5)
    assert bool(ours["text"][1].any()) != zeros
