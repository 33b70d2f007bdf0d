"""The RadVLM suite as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.evaluation.published import GROUNDING_COLUMNS, GROUNDING_ROWS, REPORT_COLUMNS, REPORT_ROWS
from training.task import Task

_COMPAT = {
    Task.REPORT: (
        "bleu_4",
        "rouge_l",
        "cider_d",
        "bertscore",
        "radgraph_partial",
        "f1chexbert_all_micro_f1",
        "f1chexbert_all_macro_f1",
        "green",
        "radcliq_v1",
    ),
    Task.CLASSIFICATION: ("macro_f1", "micro_f1"),
}
_BOXES = ("map50",)


def markdown(result: dict[str, Any]) -> str:
    """Tables of one result: both scorers with intervals and constant answers, then the published rows."""
    lines = [
        f"# RadVLM suite: {result['model']}", "", f"Manifest SHA-256 `{result['manifest']}`.", "",
        "`radvlm_compat` follows the paper's own definitions; `strict` gives a 95 % interval over patients. The "
        "constant answer never looks at the image.", "",
        "| group | n | metric | model | 95 % interval | constant answer |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, group in result["groups"].items():
        lines += [f"| {name} | {group['n']} | {row}" for row in _rows(group)]
    lines += [
        "",
        "## Published",
        "",
        *_published("report (percent; RadCliQ lower is better)", REPORT_COLUMNS, REPORT_ROWS),
    ]
    lines += ["", *_published("grounding, mAP at IoU 0.5 (percent)", GROUNDING_COLUMNS, GROUNDING_ROWS)]
    return "\n".join(lines) + "\n"


def _rows(group: dict[str, Any]) -> list[str]:
    task, constant = Task(group["task"]), group["baselines"]
    rows = []
    for metric in _COMPAT.get(task, _BOXES):
        if metric in group["radvlm_compat"]:
            rows.append(
                f"radvlm_compat {metric} | {_cell(group['radvlm_compat'][metric])} | "
                f"| {_cell(constant['radvlm_compat'].get(metric, ''))} |"
            )
    for metric, value in group["strict"].items():
        interval = ""
        if isinstance(value, dict) and value["low"] is not None:
            interval = f"{value['low']:.3f} to {value['high']:.3f}"
        other = constant["strict"].get(metric, "")
        rows.append(f"strict {metric} | {_cell(value)} | {interval} | {_cell(other)} |")
    return rows


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = value["value"]
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _published(title: str, columns: Sequence[str], rows: dict[str, tuple[float, ...]]) -> list[str]:
    head = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in rows.items()]
