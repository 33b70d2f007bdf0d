"""What a site decides about the look of results."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    manufacturer: str = "RadDraft"
    model_name: str = "RadDraft"
    sr_series_number: int = 9001
    pr_series_number: int = 9002
    sc_series_number: int = 9003
    sc_modality: str = "OT"


DEFAULT_PROFILE = SiteProfile()
