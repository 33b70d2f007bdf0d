"""How results look."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StringConstraints, field_validator

from service.settings.basics import Section

# Wordings that tell a machine's draft from a person's report: a site may choose them, not leave them out.
_SaysAi = Annotated[str, StringConstraints(min_length=2, max_length=64, pattern=r"\bAI\b")]
_SaysAiDraft = Annotated[
    str, StringConstraints(min_length=8, max_length=64, pattern=r"\bAI\b.*(?i:draft)|(?i:draft).*\bAI\b")
]
_SeriesNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ProfileSection(Section):
    """How results look: wording, series, character set."""

    banner: _SaysAi = Field(
        "AI RESULT - NOT VERIFIED",
        description="first line of pictures, presentation states, reports; says AI",
    )
    draft_title: _SaysAiDraft = Field(
        "AI DRAFT - NOT REVIEWED BY A RADIOLOGIST", description="title of the draft's text; says AI and DRAFT"
    )
    series_prefix: Annotated[str, StringConstraints(min_length=2, max_length=24, pattern=r"\bAI\b")] = Field(
        "RadDraft AI", description="what series descriptions begin with; says AI"
    )
    model_name: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        "RadDraft", description="manufacturer's model name (0008,1090) of every object"
    )
    sr_series_number: _SeriesNumber = 9001
    pr_series_number: _SeriesNumber = 9002
    sc_series_number: _SeriesNumber = 9003
    narrative_series_number: _SeriesNumber = 9010
    pdf_series_number: _SeriesNumber = 9011
    ko_series_number: _SeriesNumber = 9020
    critical_series_number: _SeriesNumber = 9021
    sc_modality: Literal["OT", "DX", "CR"] = Field(
        "OT", description="modality of pictures, where hanging protocols need another"
    )
    narrative_class: Literal["basic-text", "enhanced"] = Field(
        "basic-text", description="SOP class of the narrative report"
    )
    charset: Literal["keep", "utf-8"] = Field(
        "keep", description="keep: the source's character set, byte for byte; utf-8: all anew in ISO_IR 192"
    )
    time_zone: str = Field(
        "UTC", description="IANA zone of dates and times where the images state no offset of their own"
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone '{name}'") from None
        return name
