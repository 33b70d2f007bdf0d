"""Published results to stand beside a site's own, only cells that were read from their source.

RadVLM-GRPO (arXiv 2512.10691), tables 1 and 2: every model re-run by its authors. "RadVLM" there is the updated
Qwen3-VL model, not the 7B LLaVA-OneVision checkpoint; the first paper's own tables (arXiv 2502.03333) could not be
read and are not given.
"""

from __future__ import annotations

REPORT_COLUMNS = (
    "ROUGE-L", "BERTScore", "CheXbert micro", "CheXbert macro", "RadGraph F1", "GREEN", "RadCliQ-v1",
)  # fmt: skip
REPORT_ROWS: dict[str, tuple[float, ...]] = {
    "MedGemma-pt": (20.7, 47.7, 49.8, 32.5, 15.5, 21.9, 1.37),
    "MedGemma-it": (15.9, 31.3, 47.0, 31.5, 12.0, 23.3, 1.79),
    "MAIRA-2": (17.7, 46.6, 52.1, 35.8, 12.9, 21.3, 1.42),
    "CheXagent-2": (22.5, 37.4, 54.5, 38.7, 20.1, 29.9, 1.45),
    "DeepMedix-R1": (22.3, 52.8, 48.2, 28.3, 18.6, 30.0, 1.23),
    "LLaVA-Rad": (22.2, 48.9, 53.3, 39.2, 16.8, 28.6, 1.34),
    "Qwen3-VL": (14.0, 42.0, 35.3, 20.4, 10.8, 21.9, 1.67),
    "Qwen3-VL, thinking": (15.0, 43.1, 34.6, 18.5, 10.9, 18.5, 1.63),
    "Qwen3-VL + GRPO": (24.7, 55.8, 47.4, 22.3, 22.5, 25.8, 1.05),
    "Qwen3-VL + GRPO, thinking": (23.3, 55.0, 44.4, 22.4, 21.0, 24.7, 1.12),
    "RadVLM (Qwen3-VL)": (26.0, 53.3, 49.0, 30.5, 19.0, 29.1, 1.14),
    "RadVLM-GRPO": (29.9, 59.2, 57.0, 33.4, 25.8, 32.7, 0.86),
    "RadVLM-GRPO, thinking": (30.0, 59.0, 56.3, 33.6, 25.7, 32.9, 0.87),
}

GROUNDING_COLUMNS = ("anatomy", "abnormality (VinDr)", "phrase (MS-CXR)", "phrase (PadChest-GR)")
GROUNDING_ROWS: dict[str, tuple[float, ...]] = {
    "MAIRA-2": (19.8, 11.3, 80.1, 38.8),
    "Qwen3-VL": (11.1, 5.1, 19.0, 10.7),
    "Qwen3-VL, thinking": (8.7, 1.2, 14.6, 10.7),
    "Qwen3-VL + GRPO": (79.0, 36.0, 79.4, 55.3),
    "Qwen3-VL + GRPO, thinking": (68.8, 27.6, 76.1, 42.0),
    "RadVLM (Qwen3-VL)": (82.1, 44.2, 84.6, 59.0),
    "RadVLM-GRPO": (84.5, 45.9, 87.9, 63.0),
    "RadVLM-GRPO, thinking": (84.9, 43.9, 86.4, 60.5),
}
