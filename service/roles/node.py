"""The DICOM listener's process."""

from __future__ import annotations

import structlog

from dicom_node import AllowedPeer, Listener, ListenerSettings
from service.house import OWN_MANUFACTURER, open_house
from service.intake import book_ledger
from service.role_process import (
    NODE_SOCKET_VARIABLE,
    SignsOfLife,
    die_with_supervisor,
    inherited_socket,
    stop_on_signals,
)
from service.settings import Settings

_log = structlog.get_logger(__name__)


def run_node(settings: Settings) -> None:
    """The DICOM listener, until SIGTERM."""
    die_with_supervisor()
    stop = stop_on_signals()
    house = open_house(settings)
    listener = Listener(
        _listener_settings(settings),
        house.spool,
        book_ledger(house),
        listening_socket=inherited_socket(NODE_SOCKET_VARIABLE),
    )
    listener.start()
    signs = SignsOfLife(house.book.engine, "node", lambda: (True, "listening"))
    signs.start()
    _log.info("node_listens", port=listener.port, ae_title=settings.node.ae_title)
    stop.wait()
    listener.stop()
    signs.stop()


def _listener_settings(settings: Settings) -> ListenerSettings:
    node = settings.node
    return ListenerSettings(
        ae_title=node.ae_title,
        host=node.host,
        port=node.port,
        peers=tuple(AllowedPeer(peer.ae_title, peer.host) for peer in node.peers),
        own_manufacturer=OWN_MANUFACTURER,
        maximum_associations=node.max_associations,
        network_timeout_s=node.network_timeout_s,
        maximum_object_bytes=node.maximum_object_bytes,
    )
