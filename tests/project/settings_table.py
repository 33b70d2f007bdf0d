"""The table of settings in docs/operations.md, made from the settings' own classes.

``python -m tests.project.settings_table`` writes it anew; a test compares it.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.settings import Settings
from service.settings.sections import (
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7v2Destination,
    StowDestination,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
_BEGIN, _END = "<!-- settings: begin -->\n", "<!-- settings: end -->"
_DESTINATIONS: tuple[type[BaseModel], ...] = (
    DicomDestination,
    StowDestination,
    FhirDestination,
    Hl7v2Destination,
    FolderDestination,
)


def settings_table() -> str:
    """Markdown table of every key, its default and what it means."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {_default(field)} | {field.description or ''} |" for key, field in _keys()]
    return "\n".join(lines) + "\n"


def _keys() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if name == "destinations":
            for kind in _DESTINATIONS:
                (label,) = typing.get_args(kind.model_fields["type"].annotation)
                for key, inner in kind.model_fields.items():
                    if key not in ("type", "name"):
                        yield f"destinations ({label}).{key}", inner
        elif isinstance(section, type) and issubclass(section, BaseModel):
            for key, inner in section.model_fields.items():
                yield f"{name}.{key}", inner
        else:
            yield name, field


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if field.default_factory is not None or value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def with_table(text: str) -> str:
    """The document's text with its table made anew."""
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}{settings_table()}{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
