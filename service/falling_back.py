"""Where a report goes that a FHIR server offers no way to write: to an HL7 v2 receiver the site names, and stays there.

A study whose report once went to the other receiver goes there in every later version too: a report is mended, and
taken back, where it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from service.destinations import Destination


def told_places(
    destinations: Sequence[Destination],
    chosen: Sequence[Collection[str] | None],
    fallen: Collection[str],
) -> tuple[Destination, ...]:
    """The destinations a version of a Draft is told to.

    Parameters
    ----------
    chosen
        Names that are allowed, by whoever chooses among them; None where one does not choose. Who names a destination
        names what it falls back to.
    fallen
        Destinations whose report of this study went to their fallback before.
    """
    heirs = {place.name: place.fallback for place in destinations if place.name in fallen and place.fallback}

    def is_told(place: Destination) -> bool:
        falls_to_it = {name for name, heir in heirs.items() if heir == place.name}
        if place.name in heirs or (place.only_fallback and not falls_to_it):
            return False
        return all(names is None or {place.name, *falls_to_it} & set(names) for names in chosen)

    return tuple(filter(is_told, destinations))


def spare_places(destinations: Sequence[Destination], told: Sequence[Destination]) -> tuple[Destination, ...]:
    """Those beside `told` whose report is kept ready, should a server offer no way to write its own."""
    names = {place.fallback for place in told} - {place.name for place in told}
    return tuple(place for place in destinations if place.name in names)
