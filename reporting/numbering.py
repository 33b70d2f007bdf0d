"""One number and one colour per finding, the same in every face of a Reading."""

from __future__ import annotations

from dataclasses import dataclass

from clinical import Box, Finding, Reading

# Told apart by readers with colour-blindness too (Okabe and Ito); the numbers say the same without colour.
COLOURS = (
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (0, 200, 145),
    (255, 115, 60),
    (224, 150, 195),
    (120, 150, 255),
    (200, 200, 200),
)


@dataclass(frozen=True, slots=True)
class NumberedFinding:
    """A finding called present, its number on the picture from 1, and the RGB colour of its label."""

    number: int
    finding: Finding
    colour: tuple[int, int, int]

    @property
    def boxes_px(self) -> tuple[Box, ...]:
        """Boxes of the finding, in pixels of the stored image."""
        return tuple(box.box_px for box in self.finding.boxes)


def numbered_findings(reading: Reading) -> tuple[NumberedFinding, ...]:
    """Findings called present in their order; findings of one label share its colour."""
    labels = list(dict.fromkeys(finding.label.name for finding in reading.present))
    return tuple(
        NumberedFinding(number, finding, COLOURS[labels.index(finding.label.name) % len(COLOURS)])
        for number, finding in enumerate(reading.present, start=1)
    )
