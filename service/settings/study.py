"""How studies are assembled, and which rules decide on them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from service.settings.archives import ArchiveSection
from service.settings.basics import Name, Section


class StudySection(Section):
    """How studies are assembled and retried."""

    quiet_period_s: float = Field(30.0, ge=0, description="silence after which a study counts as complete")
    max_wait_s: float = Field(
        900.0, gt=0, description="a study is read this long after its first image at the latest"
    )
    early_reading: bool = Field(
        False, description="read each frontal image as it comes; later ones make new versions"
    )
    archive: ArchiveSection | None = Field(
        None, description="asked how many objects a study has, so that complete ones do not wait"
    )
    named_settled_s: float = Field(
        5.0,
        ge=0,
        description="silence after which a study with all images that completed steps name is complete",
    )
    max_attempts: int = Field(3, ge=1, le=20, description="attempts to read a study before it is failed")
    retry_delay_s: float = Field(5.0, ge=0, description="delay after a failed attempt, times its number")


Patterns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class RuleConditions(Section):
    """What an image must be for a rule to decide on it: every condition given must hold.

    Texts are compared without regard to case; ``*`` and ``?`` stand for any text and any character; of several texts
    one must fit.
    """

    calling_ae_title: Patterns = ()
    modality: Patterns = ()
    body_part: Patterns = ()
    study_description: Patterns = ()
    series_description: Patterns = ()
    institution: Patterns = ()
    department: Patterns = ()
    station: Patterns = ()
    manufacturer: Patterns = ()
    view_position: Patterns = ()
    age_min_years: float | None = Field(None, ge=0, description="at least so old")
    age_max_years: float | None = Field(None, ge=0, description="younger than this")


class RuleSection(Section):
    """A routing rule; the first whose conditions hold decides on an image."""

    name: Name
    when: RuleConditions = RuleConditions()
    read: bool = Field(True, description="false: such images are kept and not read")
    stat: bool = Field(False, description="read before all routine work")
    destinations: tuple[Name, ...] | None = Field(
        None, description="where results go; default: to every destination"
    )
