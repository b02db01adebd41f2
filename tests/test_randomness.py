import pytest
import torch
from scipy import stats

from sfumato.randomness import access_token, fresh_seed, seeded_generator, unsearchable_noise


def test_noise_from_the_operating_system_is_standard_normal():
    noise = unsearchable_noise((200_000,))
    assert noise.dtype == torch.float32
    assert noise.isfinite().all()
    assert stats.kstest(noise.double().numpy(), "norm").pvalue > 1e-9  # fails by chance once in 10**9


def test_noise_from_the_operating_system_ignores_torchs_generator():
    torch.manual_seed(0)
    first = unsearchable_noise((4, 5))
    torch.manual_seed(0)
    assert first.shape == (4, 5)
    assert not torch.equal(first, unsearchable_noise((4, 5)))


def test_seeds_and_tokens_differ_from_draw_to_draw():
    assert len({access_token() for _ in range(8)}) == 8
    assert len({fresh_seed() for _ in range(3)}) > 1  # fails by chance once in 2**62


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed must be in \[0, 2\*\*63\)"):
        seeded_generator(seed)
