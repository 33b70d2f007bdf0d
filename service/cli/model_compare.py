"""`model compare`: what the shadow model would have said instead."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from service.cli.common import ConfigOption, JsonOption, print_json, print_table
from service.settings import load_settings

if TYPE_CHECKING:
    from service.model_comparing import Comparison


def compare(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Compare the shadow model with what was told, finding by finding, over every image both have read."""
    settings = load_settings(config)
    from service.book import migrate, open_book
    from service.book.shadow import shadow_failures, shadow_pairs
    from service.house import database_url
    from service.model_comparing import compare

    migrate(database_url(settings))
    book = open_book(database_url(settings))
    found = compare(shadow_pairs(book.engine))
    failures = Counter(shadow_failures(book.engine))
    if as_json:
        rows = [_as_json(one) for one in found]
        print_json(
            {
                "models": rows,
                "not_read": [{"shadow": m, "code": c, "drafts": n} for (m, c), n in failures.items()],
            }
        )
        return
    for one in found:
        _print(one)
    for (model, code), count in failures.items():
        typer.echo(f"{model}: {count} drafts not read: {code}")
    if not found:
        typer.echo("no image was read by a shadow model yet; model.shadow names its package")


def _rows(one: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "finding": finding.finding,
            "both": finding.both,
            "only_told": finding.only_told,
            "only_shadow": finding.only_shadow,
            "neither": finding.neither,
            "unknown": finding.unknown,
            "p_value": None if finding.p_value is None else round(finding.p_value, 4),
            "score_difference": None
            if finding.score_difference is None
            else round(finding.score_difference, 4),
            "box_overlap": None if finding.overlap is None else round(finding.overlap, 3),
        }
        for finding in one.findings
    ]


def _as_json(one: Comparison) -> dict[str, Any]:
    return {
        "shadow": one.shadow,
        "images": one.images,
        "same_reports": one.same_reports,
        "findings": _rows(one),
        "differing_draft_rows": list(one.differing_drafts),
    }


def _print(one: Comparison) -> None:
    title = f"{one.shadow[:-48]} on {one.images} images; {one.same_reports} reports word for word the same"
    rows = _rows(one)
    columns = list(rows[0]) if rows else []
    print_table(columns, [["-" if v is None else v for v in row.values()] for row in rows], title=title)
    if one.differing_drafts:
        typer.echo(f"drafts with a difference (rows): {', '.join(map(str, one.differing_drafts))}")
