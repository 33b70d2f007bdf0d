"""What a site decides about the look of results."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """Names and numbers of the objects we make.

    Attributes
    ----------
    manufacturer, model_name
        (0008,0070) and (0008,1090) of every object; our own results are recognised by the manufacturer.
    sr_series_number, pr_series_number, sc_series_number
        High numbers, so that results sort after the images.
    sc_modality
        Modality of overlays; OT unless a site's hanging protocols need another.
    banner
        First line of every picture, presentation state and report text.
    time_zone
        IANA name of the zone that dates and times are written in where the source images state no offset of
        their own (0008,0201); one that states an offset has its results in that offset.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        If `time_zone` is unknown.
    """

    manufacturer: str = "RadDraft"
    model_name: str = "RadDraft"
    sr_series_number: int = 9001
    pr_series_number: int = 9002
    sc_series_number: int = 9003
    sc_modality: str = "OT"
    banner: str = "AI RESULT - NOT VERIFIED"
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        ZoneInfo(self.time_zone)


DEFAULT_PROFILE = SiteProfile()
