"""From the settings of a STOW-RS archive to a client that may store there."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from dicom_node import StowClient
from dicom_node.commitment_user import HeldObject
from dicom_node.qido import read_back_by_qido
from service.settings import StowDestination
from service.tls import client_tls


def stow_client(entry: StowDestination) -> StowClient:
    """The client of one STOW-RS destination.

    Raises
    ------
    Permanent
        ``tls-unreadable``: the files the settings name cannot be used.
    """
    return StowClient(
        str(entry.base_url),
        authorization=_authorization(entry),
        tls=client_tls(entry.tls) if entry.tls else None,
        timeout_s=entry.answer_timeout_s,
    )


def stow_read_back(entry: StowDestination) -> Callable[[Sequence[HeldObject]], frozenset[str]]:
    """Reads back from one STOW-RS archive what it holds; certificates are read anew each time."""

    def look(objects: Sequence[HeldObject]) -> frozenset[str]:
        return read_back_by_qido(
            str(entry.base_url),
            objects,
            authorization=_authorization(entry),
            tls=client_tls(entry.tls) if entry.tls else None,
            timeout_s=entry.answer_timeout_s,
        )

    return look


def _authorization(entry: StowDestination) -> str:
    if entry.bearer_token is not None:
        return f"Bearer {entry.bearer_token.get_secret_value()}"
    if entry.username is not None and entry.password is not None:
        # RFC 7617.
        pair = f"{entry.username}:{entry.password.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode('utf-8')).decode('ascii')}"
    return ""
