"""Pictures of one result: findings, confusion, precision and recall, reliability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_NOTHING = "(nothing)"


def write_plots(groups: Mapping[str, Mapping[str, Any]], out: Path) -> list[Path]:
    """PNG files of each group that has labels: `NAME_findings`, `_confusion` and, with probabilities, two more."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, group in groups.items():
        for key, draw in _DRAWN.items():
            if group.get(key):
                path = out / f"{name}_{key}.png"
                _picture(path, name, group[key], draw)
                written.append(path)
    return written


def _picture(path: Path, name: str, content: Any, draw: Callable[[Axes, Any], None]) -> None:
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, content)
    axes.set_title(f"{name}: {axes.get_title()}")
    figure.savefig(path)


def _findings(axes: Axes, findings: Mapping[str, Mapping[str, Any]]) -> None:
    labels = [f"{label} ({rates['positives']})" for label, rates in findings.items()]
    for offset, key in ((-0.2, "sensitivity"), (0.2, "specificity")):
        values = [rates[key] or 0.0 for rates in findings.values()]
        axes.barh([index + offset for index in range(len(labels))], values, height=0.4, label=key)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(loc="lower right")
    axes.set_title("findings (positives)")


def _confusion(axes: Axes, content: Mapping[str, Any]) -> None:
    names = [*content["labels"], _NOTHING]
    counts = np.array(content["counts"], dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    for (row, column), count in np.ndenumerate(counts.astype(int)):
        if count:
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=6, color=shade)
    axes.set_xlabel("said")
    axes.set_ylabel("there")
    axes.set_title("confusion")


def _precision_recall(axes: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    for number, (label, curve) in enumerate(curves.items()):
        axes.step(
            [0, *curve["recall"]], [curve["precision"][0], *curve["precision"]], where="pre",
            linestyle=("-", "--", ":")[number // 10 % 3], label=f"{label} {curve['average_precision']:.2f}",
        )  # fmt: skip
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.legend(fontsize=7, loc="lower left")
    axes.set_title("precision and recall (average precision)")


def _reliability(axes: Axes, bins: list[dict[str, float]]) -> None:
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1)
    axes.plot([one["stated"] for one in bins], [one["observed"] for one in bins], marker="o")
    for one in bins:
        axes.annotate(f"{one['n']:,.0f}", (one["stated"], one["observed"]), fontsize=7, xytext=(4, -9),
                      textcoords="offset points")  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("stated probability")
    axes.set_ylabel("observed frequency")
    axes.set_title("reliability (decisions)")


_DRAWN: dict[str, Callable[[Axes, Any], None]] = {
    "findings": _findings,
    "confusion": _confusion,
    "precision_recall": _precision_recall,
    "reliability": _reliability,
}
