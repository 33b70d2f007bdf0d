"""What a site decides about the look of results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo


class Charset(StrEnum):
    """What becomes of the character set of a source (0008,0005).

    ``keep`` leaves the patient's data byte for byte as they are, and what we add is written in the same set. ``utf-8``
    writes everything anew in ISO_IR 192; a source that cannot be decoded without loss is kept as it is.
    """

    KEEP = "keep"
    UTF_8 = "utf-8"


class NarrativeClass(StrEnum):
    """SOP class of the narrative report."""

    BASIC_TEXT = "basic-text"
    ENHANCED = "enhanced"


_SAYS_AI = re.compile(r"\bAI\b")


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """Names and numbers of the objects we make.

    Attributes
    ----------
    manufacturer, model_name
        (0008,0070) and (0008,1090) of every object; our own results are recognised by the manufacturer.
    sr_series_number, pr_series_number, sc_series_number, narrative_series_number, pdf_series_number, ko_series_number,
    critical_series_number
        High numbers, so that results sort after the images.
    sc_modality
        Modality of overlays; OT unless a site's hanging protocols need another.
    narrative_class
        SOP class of the narrative report.
    banner
        First line of every picture, presentation state and report; it must say "AI".
    draft_title
        Title of the text of the draft; it must say "AI" and "DRAFT".
    series_prefix
        What every series description begins with; it must say "AI".
    charset
        What becomes of the source's character set.
    time_zone
        IANA name of the zone that dates and times are written in where the source images state no offset of
        their own (0008,0201); one that states an offset has its results in that offset.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If `time_zone` is unknown.
    ValueError
        If a wording does not say what it must.
    """

    manufacturer: str = "RadDraft"
    model_name: str = "RadDraft"
    sr_series_number: int = 9001
    pr_series_number: int = 9002
    sc_series_number: int = 9003
    narrative_series_number: int = 9010
    pdf_series_number: int = 9011
    ko_series_number: int = 9020
    critical_series_number: int = 9021
    sc_modality: str = "OT"
    narrative_class: NarrativeClass = NarrativeClass.BASIC_TEXT
    banner: str = "AI RESULT - NOT VERIFIED"
    draft_title: str = "AI DRAFT - NOT REVIEWED BY A RADIOLOGIST"
    series_prefix: str = "RadDraft AI"
    charset: Charset = Charset.KEEP
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        ZoneInfo(self.time_zone)
        for name in ("banner", "draft_title", "series_prefix"):
            if not _SAYS_AI.search(getattr(self, name)):
                raise ValueError(f"{name} must say AI: no result of ours may pass for a person's")
        if "DRAFT" not in self.draft_title.upper():
            raise ValueError("draft_title must say DRAFT")


DEFAULT_PROFILE = SiteProfile()
