"""What several commands share: the configuration option and the way listings are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.settings import Settings

if TYPE_CHECKING:
    from service.book import Book

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="TOML configuration; default: the file RADDRAFT_CONFIG names, or none."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_migrated_book(settings: Settings) -> Book:
    """The account book of an installation, brought to this version's tables."""
    # The database's libraries take half a second to import: only commands that open the book pay it.
    from service.book import migrate, open_book
    from service.house import database_url

    migrate(database_url(settings))
    return open_book(database_url(settings))


def as_plain(value: Any) -> Any:
    """A value made of what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_plain(asdict(value))
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    typer.echo(json.dumps(as_plain(value), indent=2, ensure_ascii=False))


def say_step(step: str) -> None:
    """Say on a terminal's standard error what a long command is doing."""
    if sys.stderr.isatty():
        typer.echo(f"  {step}", err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table on standard output."""
    table = Table(title=title or None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)
