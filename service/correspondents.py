"""Whom the listener's process calls: peers that asked it for storage commitment, and archives with our results."""

from __future__ import annotations

import ssl
from functools import partial

from dicom_node import AllowedPeer, Peer
from service.commitment import Correspondent
from service.settings import Settings
from service.settings.sections import ClientTlsSection, DicomDestination
from service.tls import client_tls


def requestor(settings: Settings, ae_title: str, host: str) -> Correspondent | None:
    """How a caller is called back: at its peer's port and the address it called from; None where no port is known."""
    for peer in settings.node.peers:
        if peer.port is not None and AllowedPeer(peer.ae_title, peer.host).matches(ae_title, host):
            return Correspondent(Peer(peer.ae_title, host, peer.port), _own_tls(settings))
    return None


def archives(settings: Settings) -> dict[str, Correspondent]:
    """The DICOM destinations that are asked whether they keep what they took, by name."""
    return {
        entry.name: Correspondent(
            Peer(entry.ae_title, entry.host, entry.port),
            partial(client_tls, entry.tls) if entry.tls is not None else None,
        )
        for entry in settings.destinations
        if isinstance(entry, DicomDestination) and entry.confirm
    }


def _own_tls(settings: Settings) -> partial[ssl.SSLContext] | None:
    """A listener that speaks TLS calls its peers back with the same certificate and authorities."""
    tls = settings.node.tls
    if tls is None:
        return None
    return partial(client_tls, ClientTlsSection(ca=tls.ca, cert=tls.cert, key=tls.key))
