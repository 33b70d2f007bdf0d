"""Whether a result may be at its destination, by the delivery log and by the attempt that is under way.

The row's own count does not tell: a result that is sent again begins at its first attempt, and is there all the same.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists

from service.book.states import DeliveryState
from service.book.tables import DeliveryAttemptRow, DeliveryRow


def may_be_there(*ways_it_is_not: DeliveryState) -> ColumnElement[bool]:
    """Whether one of a delivery's attempts may have left the result there.

    An attempt without an answer counts; so does one whose worker died before it was logged. A dry run never does.

    Parameters
    ----------
    ways_it_is_not
        Ends of an attempt that show that it left nothing there.
    """
    nothing = (DeliveryState.WOULD_SEND, *ways_it_is_not)
    logged = exists().where(
        DeliveryAttemptRow.delivery_id == DeliveryRow.id, DeliveryAttemptRow.state.not_in(nothing)
    )
    return logged | ((DeliveryRow.attempts > 0) & DeliveryRow.state.not_in(nothing))
