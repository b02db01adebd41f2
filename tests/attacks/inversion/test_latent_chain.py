"""The gradient of the whole chain is right, whatever is kept in memory."""

import pytest
import torch

from inverting_views import SIZE
from sfumato.attacks.inversion import latent_chain
from sfumato.attacks.inversion.latent_chain import LatentChain, latent_shape, load_chain, native_size, normalised
from sfumato.attacks.inversion.texts import PriorTexts
from sfumato.errors import Unsupported
from sfumato.models.decoding import decode
from sfumato.models.denoiser import Conditioning, predict
from sfumato.models.loading import load_decoder, load_unet
from sfumato.models.sampling import Sampling, make_scheduler, sample

CPU = torch.device("cpu")


def latents_of(model, count, seed=0):
    return torch.randn(count, *latent_shape(model, SIZE), generator=torch.Generator().manual_seed(seed))


def gradient(chain, latents, conditioning):
    latents = latents.clone().requires_grad_()
    weights = torch.linspace(-1, 1, SIZE[0] * SIZE[1] * 3, dtype=latents.dtype).view(1, 3, *SIZE)
    (chain(normalised(latents), conditioning) * weights).sum().backward()
    return latents.grad


def test_the_chain_makes_the_pictures_of_the_shared_sampler(tiny_sd, chain, no_words):
    latents, conditioning = latents_of(tiny_sd, 2), no_words.conditioning([""] * 2, CPU)
    unet = load_unet(tiny_sd)
    sampling = Sampling(
        scheduler=make_scheduler(tiny_sd, "ddim"),
        noise=latents,
        conditioning=conditioning,
        num_inference_steps=3,
        guidance_scale=1.0,
    )
    with torch.no_grad():
        *_, last = sample(lambda x, t, c: predict(unet, x, t, c), sampling)
        made = chain(latents, conditioning)
    assert torch.equal(made, decode(load_decoder(tiny_sd), last.latents))
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("guided", [False, True])
def test_the_gradient_reaches_the_latent_through_all_steps(tiny_sd, guided):
    """Against central differences in fp64, along random directions."""
    unet, decoder = load_unet(tiny_sd, dtype=torch.float64), load_decoder(tiny_sd, dtype=torch.float64)
    chain = LatentChain(
        unet, decoder, make_scheduler(tiny_sd, "ddim"), sampling_steps=4, guidance_scale=3.0 if guided else 1.0
    )
    words = PriorTexts(tiny_sd, SIZE, guided=guided).conditioning(["a hat"], CPU)
    conditioning = Conditioning(prompt_embeds=words.prompt_embeds.double())
    latents = latents_of(tiny_sd, 1).double()
    found = gradient(chain, latents, conditioning)
    weights = torch.linspace(-1, 1, SIZE[0] * SIZE[1] * 3, dtype=torch.float64).view(1, 3, *SIZE)

    def value(at):
        with torch.no_grad():
            return (chain(normalised(at), conditioning) * weights).sum()

    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        direction = torch.randn(latents.shape, generator=generator, dtype=torch.float64)
        slope = (value(latents + 1e-5 * direction) - value(latents - 1e-5 * direction)) / 2e-5
        torch.testing.assert_close((found * direction).sum(), slope, rtol=1e-5, atol=1e-8)
    assert found.abs().sum() > 0


def test_recomputed_steps_give_the_same_gradient(tiny_sd, no_words, monkeypatch):
    latents, conditioning = latents_of(tiny_sd, 2), no_words.conditioning([""] * 2, CPU)
    kept = load_chain(tiny_sd, sampling_steps=3, memory_gib=4.0)
    wanted = gradient(kept, latents, conditioning)
    calls = []
    monkeypatch.setattr(latent_chain, "predict", lambda *given: calls.append(1) or predict(*given))
    gradient(kept, latents, conditioning)
    assert len(calls) == 3
    again = load_chain(tiny_sd, sampling_steps=3, memory_gib=1e-6)
    calls.clear()
    found = gradient(again, latents, conditioning)
    assert len(calls) == 1 + 3 + 3, "one to measure, three forth, three again on the way back"
    torch.testing.assert_close(found, wanted)


def test_weights_get_no_gradient(tiny_sd, chain, no_words):
    gradient(chain, latents_of(tiny_sd, 1), no_words.conditioning([""], CPU))
    assert all(value.grad is None for value in chain._unet.parameters())


def test_normalised_latents_have_mean_0_and_deviation_1_each():
    latents = normalised(torch.rand(3, 4, 5, 6) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1) + 7)
    torch.testing.assert_close(latents.flatten(1).mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.flatten(1).std(1), torch.ones(3))


def test_words_are_conditioning_and_no_words_are_zero(tiny_sd, no_words):
    assert not no_words.conditioning([""], CPU).prompt_embeds.any()
    assert no_words.conditioning(["a hat"], CPU).prompt_embeds.any()
    guided = PriorTexts(tiny_sd, SIZE, guided=True).conditioning(["a hat", ""], CPU)
    assert guided.batch == 4
    assert [bool(row.any()) for row in guided.prompt_embeds] == [False, False, True, False]


def test_sdxl_is_told_the_size(tiny_sdxl):
    words = PriorTexts(tiny_sdxl, SIZE, guided=False)
    conditioning = words.conditioning([""], CPU)
    assert not conditioning.pooled.any()
    assert conditioning.time_ids[0, 0] == SIZE[0]
    chain = load_chain(tiny_sdxl, sampling_steps=2)
    latents = latents_of(tiny_sdxl, 1)
    assert gradient(chain, latents, conditioning).abs().sum() > 0


def test_sizes_that_the_model_does_not_make_are_refused(tiny_sd, portraits):
    assert native_size(portraits) == (128, 128)
    assert latent_shape(portraits, (128, 96)) == (4, 32, 24)
    with pytest.raises(Unsupported, match=r"makes pictures whose sides are multiples of .*, got 17 x 16; scale"):
        latent_shape(tiny_sd, (17, 16))


def test_a_prior_that_is_too_long_is_refused(no_words):
    with pytest.raises(Unsupported, match=r"a prior is .* tokens longer than the .* shorten it"):
        no_words.conditioning(["a hat " * 500], CPU)


def test_no_steps_are_refused(chain):
    with pytest.raises(ValueError, match="sampling_steps must be at least 1, got 0"):
        LatentChain(chain._unet, chain._decoder, chain._scheduler, sampling_steps=0)
