"""The Hugging Face processor files of the embedded model.

They are written file by file: transformers 5 can build a `LlavaOnevisionProcessor` only where torchvision is
installed (its video half), while the image half and the tokenizer load without it. `AutoProcessor`,
`AutoImageProcessor` and `AutoTokenizer` read what is written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from training.recipe import ModelSize

# RadVLM's evaluation form: no system turn, images before the text of a turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{ '<|im_end|>' }}{% if not loop.last or add_generation_prompt %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_BICUBIC = 3


def save_processor(tokenizer: PreTrainedTokenizerFast, size: ModelSize, folder: Path) -> None:
    """Write tokenizer, image and video processor configuration and chat template into a checkpoint folder."""
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    _write(folder / "preprocessor_config.json", image_processor_config(size))
    _write(folder / "video_preprocessor_config.json", _video_processor_config(size))
    _write(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaOnevisionProcessor",
            "image_token": "<image>",
            "video_token": "<video>",
            "num_image_tokens": size.tile_tokens,
            "vision_aspect_ratio": "anyres_max_9",
            "vision_feature_select_strategy": "full",
        },
    )


def image_processor_config(size: ModelSize) -> dict[str, Any]:
    """One 1x1 pinpoint, SigLIP normalisation, bicubic resizing."""
    side = size.image_size_px
    return {
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "processor_class": "LlavaOnevisionProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_grid_pinpoints": [[side, side]],
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }


def _video_processor_config(size: ModelSize) -> dict[str, Any]:
    side = size.image_size_px
    return {
        "video_processor_type": "LlavaOnevisionVideoProcessor",
        "processor_class": "LlavaOnevisionProcessor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": _BICUBIC,
        "size": {"height": side, "width": side},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
