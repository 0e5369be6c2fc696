"""INT8 W8A8 as vLLM's CPU kernels run it: a scale per output channel, activations scaled per token.

Data-free: the scale of a channel is its largest weight over 127 (round to nearest). Activations are
quantised while serving, so that no calibration text is needed.
"""

from typing import Any

import torch

LARGEST = 127
"""Of a symmetric eight-bit integer; -128 is not used."""

_SMALLEST_SCALE = 1e-12
_LINEAR_SUFFIX = "_proj.weight"


def is_quantised(name: str) -> bool:
    """Whether the tensor is a linear layer's weight; embeddings, norms and the head stay bf16."""
    return name.endswith(_LINEAR_SUFFIX)


def scale_name(name: str) -> str:
    """The name of the scales that belong to a weight, as compressed-tensors has it."""
    return f"{name}_scale"


def quantise_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`weight` [out, in] as INT8 [out, in] and float32 scales [out, 1].

    |weight - int8 * scale| is at most half a scale, element by element.
    """
    values = weight.float()
    scale = (values.abs().amax(dim=1, keepdim=True) / LARGEST).clamp_min(_SMALLEST_SCALE)
    rounded = torch.round(values / scale).clamp_(-LARGEST, LARGEST)
    return rounded.to(torch.int8), scale


def quantisation_config() -> dict[str, Any]:
    """The `quantization_config` for config.json, in compressed-tensors' words."""
    common = {"num_bits": 8, "type": "int", "symmetric": True, "group_size": None}
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**common, "strategy": "channel", "dynamic": False},
                "input_activations": {**common, "strategy": "token", "dynamic": True},
                "output_activations": None,
            }
        },
    }
