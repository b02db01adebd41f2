"""Number formats that a spec may choose for tensors on the wire."""

from typing import Literal

import torch

WireDtype = Literal["fp32", "fp16", "bf16"]

WIRE_DTYPES: dict[WireDtype, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
