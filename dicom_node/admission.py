"""Whether a caller is let in, and how it is told if not (PS3.8 section 9.3.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dicom_node.association_request import AssociationRequest
from dicom_node.peers import AllowedPeer, is_this_machine, matching
from dicom_node.shared_limits import Hold, SharedLimits

# PS3.8 Table 9-21: result (1 permanent, 2 transient), source (1 service user, 3 provider's presentation part), reason.
CALLING_AE_NOT_RECOGNISED = (1, 1, 3)
CALLED_AE_NOT_RECOGNISED = (1, 1, 7)
TEMPORARY_CONGESTION = (2, 3, 1)
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)


class Refusal(StrEnum):
    """Why a call was refused."""

    CALLED_AE_TITLE = "called-ae-title"
    CALLING_AE_TITLE = "calling-ae-title"
    PEER_RATE = "peer-rate"
    PEER_ASSOCIATIONS = "peer-associations"
    ASSOCIATIONS = "associations"
    DISK_SPACE = "disk-space"
    TLS = "tls"
    CONNECTIONS = "connections"


# A caller that may come again is told so (transient): some archives take a permanent rejection as the last word.
REJECTIONS = {
    Refusal.CALLED_AE_TITLE: CALLED_AE_NOT_RECOGNISED,
    Refusal.CALLING_AE_TITLE: CALLING_AE_NOT_RECOGNISED,
    Refusal.PEER_RATE: TEMPORARY_CONGESTION,
    Refusal.PEER_ASSOCIATIONS: LOCAL_LIMIT_EXCEEDED,
    Refusal.ASSOCIATIONS: LOCAL_LIMIT_EXCEEDED,
    Refusal.DISK_SPACE: LOCAL_LIMIT_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that was refused: why, from where, and under which names where it had told them."""

    refusal: Refusal
    address: str
    calling_ae_title: str = ""
    called_ae_title: str = ""


class Admission:
    """Decides on callers.

    Parameters
    ----------
    ae_title
        Our own; callers must call it.
    peers
        Who may call; empty means this machine only, under any AE title.
    limits
        Shared with the other processes; its peers are `peers`.
    has_space
        Whether objects are taken in at all just now.
    """

    def __init__(
        self,
        *,
        ae_title: str,
        peers: tuple[AllowedPeer, ...],
        limits: SharedLimits,
        has_space: Callable[[], bool],
    ) -> None:
        self._ae_title = ae_title
        self._peers = peers
        self._limits = limits
        self._has_space = has_space

    def admit(self, request: AssociationRequest, address: str) -> list[Hold] | Refusal:
        """The places a caller now holds, to be given to `leave`; or why it is refused."""
        if request.called_ae_title != self._ae_title:
            return Refusal.CALLED_AE_TITLE
        peer = matching(self._peers, request.calling_ae_title, address)
        if peer is None and (self._peers or not is_this_machine(address)):
            return Refusal.CALLING_AE_TITLE
        if peer is not None and not self._limits.may_call(peer):
            return Refusal.PEER_RATE
        if not self._has_space():
            return Refusal.DISK_SPACE
        return self._placed(peer)

    def leave(self, holds: list[Hold]) -> None:
        """Give back what `admit` gave."""
        for hold in holds:
            self._limits.leave(hold)

    def _placed(self, peer: int | None) -> list[Hold] | Refusal:
        holds: list[Hold] = []
        if peer is not None:
            hold = self._limits.enter_as(peer)
            if hold is None:
                return Refusal.PEER_ASSOCIATIONS
            holds.append(hold)
        hold = self._limits.enter()
        if hold is None:
            self.leave(holds)
            return Refusal.ASSOCIATIONS
        return [*holds, hold]
