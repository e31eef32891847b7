import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.labels.picking import PICKERS, draw, probabilities, together


def chances(n, seed=0):
    return np.random.default_rng(seed).beta(0.5, 0.8, size=n)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PICKERS), st.integers(1, 199), st.integers(0, 1000), st.booleans())
def test_every_image_can_be_picked_and_exactly_n_are(picker, n, seed, by_part):
    prompts = np.arange(200) // 4
    parts = [f"r{k % 3}" for k in prompts] if by_part else None
    pi, strata = probabilities(picker, n, chances(200, seed), 200, parts)
    assert (pi > 0).all() and (pi <= 1).all()
    assert pi.sum() == pytest.approx(n)
    picked = draw(pi, strata, prompts, seed)
    assert len(picked) == n == len(set(picked.tolist()))


@pytest.mark.parametrize("picker", PICKERS)
def test_probabilities_are_those_of_the_draw(picker):
    prompts = np.arange(120) // 3
    pi, strata = probabilities(picker, 30, chances(120), 120)
    counts = np.zeros(120)
    for seed in range(2000):
        counts[draw(pi, strata, prompts, seed)] += 1
    error = np.sqrt(np.maximum(pi * (1 - pi), 1e-9) / 2000)
    assert (np.abs(counts / 2000 - pi) < 5 * error + 1e-9).all()


def test_labels_spread_over_prompts():
    prompts = np.arange(400) // 4
    for n, most in ((60, 1), (100, 1), (150, 2), (400, 4)):
        pi, strata = probabilities("uniform", n, None, 400)
        assert np.bincount(prompts[draw(pi, strata, prompts, 5)]).max() == most


def test_active_picks_what_is_uncertain_and_relations_get_as_many_each():
    p = np.where(np.arange(300) < 100, 0.5, 0.01)
    pi, _ = probabilities("active", 60, p, 300)
    assert pi[0] > 3 * pi[200] > 0
    parts = ["few"] * 40 + ["many"] * 260
    pi, _ = probabilities("uniform", 60, None, 300, parts)
    assert pi[:40].sum() == pytest.approx(30)


def test_seed_decides():
    pi, strata = probabilities("active", 50, chances(300), 300)
    first, again, other = (draw(pi, strata, np.arange(300), s) for s in (1, 1, 2))
    assert (first == again).all() and set(first) != set(other)


def test_batches_add_up():
    both = together(np.array([0.2, 1.0]), np.array([0.5, 0.1]))
    assert both == pytest.approx([0.6, 1.0])


def test_what_cannot_be_picked():
    with pytest.raises(InputError, match="400 images are to be picked, 300"):
        probabilities("uniform", 400, None, 300)
    with pytest.raises(InputError, match="all 0 or 1"):
        probabilities("active", 10, np.tile([0.0, 1.0], 20), 40)
