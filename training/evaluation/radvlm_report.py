"""The RadVLM suite as a Markdown table and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.evaluation.published import GROUNDING_COLUMNS, GROUNDING_ROWS, REPORT_COLUMNS, REPORT_ROWS
from training.task import Task

_COMPAT = {
    Task.REPORT: ("rouge_l", "bertscore", "radgraph_partial", "radcliq_v1"),
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
        other = constant["strict"][metric]
        rows.append(f"strict {metric} | {_cell(value)} | {interval} | {_cell(other)} |")
    return rows


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = value["value"]
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _published(title: str, columns: Sequence[str], rows: dict[str, tuple[float, ...]]) -> list[str]:
    head = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in rows.items()]


def write_plots(result: dict[str, Any], out: Path) -> list[Path]:
    """One picture per classification group: sensitivity and specificity of each finding, as PNG."""
    written = []
    for name, group in result["groups"].items():
        if "findings" not in group:
            continue
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        labels = [f"{label} ({rates['positives']})" for label, rates in group["findings"].items()]
        for offset, key in ((-0.2, "sensitivity"), (0.2, "specificity")):
            values = [rates[key] or 0.0 for rates in group["findings"].values()]
            axes.barh([index + offset for index in range(len(labels))], values, height=0.4, label=key)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.legend(loc="lower right")
        axes.set_title(f"{name}: findings (positives)")
        path = out / f"{name}_findings.png"
        figure.savefig(path)
        written.append(path)
    return written
