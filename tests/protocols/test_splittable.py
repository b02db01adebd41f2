"""What strip-split cannot split is refused by name, by both sides, before anything is computed."""

import pytest
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor2_0
from torch import nn

from sfumato.errors import Unsupported
from sfumato.models.loading import meta_unet
from sfumato.protocols.strip_split.client import StripSplitClient
from sfumato.protocols.strip_split.graph import require_splittable
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.worker.catalog import worker_half

BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
SMALL = BLOCKS | {
    "sample_size": 8,
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
    "norm_num_groups": 2,
}


def made(**changes) -> UNet2DConditionModel:
    return UNet2DConditionModel(**SMALL | changes)


CONFIGS = {
    "scale and shift": (
        {"resnet_time_scale_shift": "scale_shift"},
        r"down_blocks\.0\.resnets\.0: it has a time embedding of kind scale_shift",
    ),
    "GLIGEN": ({"attention_type": "gated"}, r"transformer_blocks\.0: it has position embeddings or a GLIGEN gate"),
    "only cross-attention": ({"only_cross_attention": True}, "has two attention layers of one kind"),
    "twofold transformers": ({"dual_cross_attention": True}, r"attentions\.0: it has two transformers side by side"),
    "resnet downsampling": (
        {"down_block_types": ("ResnetDownsampleBlock2D", "DownBlock2D")},
        "this U-Net: it has blocks of kind ResnetDownsampleBlock2D",
    ),
    "simple attention": ({"down_block_types": ("SimpleCrossAttnDownBlock2D", "DownBlock2D")}, "has group_norm"),
    "a wide first convolution": ({"conv_in_kernel": 5}, "this U-Net: it has another kind of first or last layer"),
    "another downsampling": ({"downsample_padding": 0}, r"downsamplers\.0: it has another kind of downsampling"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_models_with_other_layers_are_refused_by_name(name):
    changes, sentence = CONFIGS[name]
    with pytest.raises(Unsupported, match=sentence):
        require_splittable(made(**changes))


def cross_attention(unet):
    return unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2


def norm_of_queries(unet):
    cross_attention(unet).norm_q = nn.LayerNorm(2)


def group_norm(unet):
    cross_attention(unet).group_norm = nn.GroupNorm(1, 8)


def added_keys(unet):
    cross_attention(unet).add_k_proj = nn.Linear(8, 8)


def ip_adapter(unet):
    cross_attention(unet).processor = IPAdapterAttnProcessor2_0(8, 8)


def own_processor(unet):
    class Own:
        pass

    cross_attention(unet).processor = Own()


CHANGES = {
    norm_of_queries: r"down_blocks\.0.*attn2: it has norm_q",
    group_norm: r"attn2: it has group_norm",
    added_keys: r"attn2: it has add_k_proj",
    ip_adapter: r"attn2: it runs IPAdapterAttnProcessor2_0; unload adapters",
    own_processor: r"attn2: it runs Own; unload adapters",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_attention_that_was_changed_is_refused_by_name(change):
    unet = made()
    change(unet)
    with pytest.raises(Unsupported, match=f"strip-split cannot split .*{CHANGES[change]}"):
        require_splittable(unet)


def test_both_sides_refuse_and_the_sentence_says_what_to_use():
    unet = made(resnet_time_scale_shift="scale_shift")
    for refuse in (
        lambda: StripSplitClient(StripSplit()).check(unet, (1, 4, 8, 8), 2),
        lambda: worker_half(StripSplit(), unet, 0),
    ):
        with pytest.raises(Unsupported, match="use protocol layer-split or plain"):
            refuse()


def test_ordinary_models_are_taken(tiny_sd, tiny_sdxl, portraits):
    unet = made(upcast_attention=False)
    cross_attention(unet).processor = AttnProcessor()
    for ordinary in (unet, *(meta_unet(folder) for folder in (tiny_sd, tiny_sdxl, portraits))):
        require_splittable(ordinary)
