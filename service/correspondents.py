"""Whom the listener's process calls: peers that asked it for storage commitment, and archives with our results."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial

from dicom_node import AllowedPeer, Peer
from dicom_node.commitment_user import HeldObject, read_back
from service.commitment import Archive, Correspondent
from service.settings import Settings, StowDestination
from service.settings.sections import ClientTlsSection, DicomDestination
from service.stow_access import stow_read_back
from service.tls import client_tls


def requestor(settings: Settings, ae_title: str, host: str) -> Correspondent | None:
    """How a caller is called back: at its peer's port and the address it called from; None where no port is known."""
    for peer in settings.node.peers:
        if peer.port is not None and AllowedPeer(peer.ae_title, peer.host).matches(ae_title, host):
            return Correspondent(Peer(peer.ae_title, host, peer.port), _own_tls(settings))
    return None


def confirming(settings: Settings) -> frozenset[str]:
    """Names of the destinations that are asked whether they keep what they took."""
    return frozenset(
        entry.name
        for entry in settings.destinations
        if isinstance(entry, DicomDestination | StowDestination) and entry.confirm
    )


def archives(settings: Settings) -> dict[str, Archive]:
    """The destinations that are asked whether they keep what they took, by name, and how."""
    asked = confirming(settings)
    found = {}
    for entry in settings.destinations:
        if entry.name not in asked:
            continue
        if isinstance(entry, DicomDestination):
            found[entry.name] = _by_dimse(entry, settings.node.ae_title)
        elif isinstance(entry, StowDestination):
            found[entry.name] = Archive(stow_read_back(entry))
    return found


def _by_dimse(entry: DicomDestination, own_ae_title: str) -> Archive:
    secured = partial(client_tls, entry.tls) if entry.tls is not None else None
    archive = Correspondent(Peer(entry.ae_title, entry.host, entry.port), secured)

    def look(objects: Sequence[HeldObject]) -> frozenset[str]:
        return read_back(objects, archive.peer, calling_ae_title=own_ae_title, tls=archive.context())

    return Archive(look, archive)


def _own_tls(settings: Settings) -> partial[ssl.SSLContext] | None:
    """A listener that speaks TLS calls its peers back with the same certificate and authorities."""
    tls = settings.node.tls
    if tls is None:
        return None
    return partial(client_tls, ClientTlsSection(ca=tls.ca, cert=tls.cert, key=tls.key))
