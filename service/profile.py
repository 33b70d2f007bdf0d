"""The site profile of the settings, as `reporting` knows it."""

from __future__ import annotations

from reporting import Charset, NarrativeClass, SiteProfile
from service.house import OWN_MANUFACTURER
from service.settings import Settings


def site_profile(settings: Settings) -> SiteProfile:
    """How results look at this site; the manufacturer is ours, by which results are known when they come back."""
    section = settings.profile
    named = section.model_dump(exclude={"charset", "narrative_class"})
    return SiteProfile(
        manufacturer=OWN_MANUFACTURER,
        charset=Charset(section.charset),
        narrative_class=NarrativeClass(section.narrative_class),
        **named,
    )
