"""The DICOM listener's processes."""

from __future__ import annotations

import os
import socket
from threading import Event, Thread

import structlog

from clinical import RadDraftError
from dicom_node import AllowedPeer, Listener, ListenerSettings, PeerLimits, TlsFiles
from dicom_node.notices import AVAILABILITY_CLASS_UID, STEP_CLASS_UID
from service.commitment import BookDesk, CommitmentClerk
from service.correspondents import archives, requestor
from service.house import OWN_MANUFACTURER, House, open_house
from service.intake import book_ledger, quiet_rule, reception_of
from service.notices import BookNotices
from service.orphans import adopt_orphans
from service.refused_calls import RefusedCalls
from service.role_process import (
    NODE_NUMBER_VARIABLE,
    NODE_SOCKET_VARIABLE,
    SUPERVISOR_PID_VARIABLE,
    SignsOfLife,
    die_with_supervisor,
    inherited_socket,
    stop_on_signals,
)
from service.settings import Settings
from service.settings.node import Notice
from service.supervisor import RoleCommand, Supervisor, bind_listening_socket, role_command

_log = structlog.get_logger(__name__)

_NOTICE_CLASSES = {Notice.PERFORMED_STEPS: STEP_CLASS_UID, Notice.AVAILABILITY: AVAILABILITY_CLASS_UID}

# A file without a row for so long waits for no commit: the book answers or fails within half a minute.
LEFT_AFTER_S = 90.0


def listener_names(settings: Settings) -> tuple[str, ...]:
    """Role names of the listener's processes: ``node``, ``node-2`` ..."""
    return tuple(
        "node" if number == 1 else f"node-{number}" for number in range(1, settings.node.processes + 1)
    )


def listener_roles(
    settings: Settings, listening: socket.socket, environment: dict[str, str]
) -> list[RoleCommand]:
    """The listener's processes, which all accept on one socket they inherit."""
    descriptor = listening.fileno()
    return [
        RoleCommand(
            name,
            role_command("node"),
            {**environment, NODE_SOCKET_VARIABLE: str(descriptor), NODE_NUMBER_VARIABLE: str(number)},
            (descriptor,),
        )
        for number, name in enumerate(listener_names(settings), start=1)
    ]


def run_node(settings: Settings) -> None:
    """The DICOM listener, until SIGTERM; alone with several processes, their supervisor."""
    die_with_supervisor()
    listening = inherited_socket(NODE_SOCKET_VARIABLE)
    if listening is None and settings.node.processes > 1:
        _run_several(settings)
    else:
        _run_one(settings, listening)


def _run_several(settings: Settings) -> None:
    stop = stop_on_signals()
    listening = bind_listening_socket(settings.node.host, settings.node.port, "node.port")
    open_house(settings)
    environment = {SUPERVISOR_PID_VARIABLE: str(os.getpid())}
    try:
        Supervisor(listener_roles(settings, listening, environment)).run(stop)
    finally:
        listening.close()


def _run_one(settings: Settings, listening: socket.socket | None) -> None:
    stop = stop_on_signals()
    house = open_house(settings)
    engine = house.book.engine
    refused = RefusedCalls(engine)
    listener = Listener(
        _listener_settings(settings),
        house.spool,
        book_ledger(house),
        listening_socket=listening,
        refused=refused.note,
        commitment=BookDesk(house, lambda ae_title, host: requestor(settings, ae_title, host) is not None),
        notices=BookNotices(engine),
    )
    listener.start()
    refused.start()
    name = listener_names(settings)[int(os.environ.get(NODE_NUMBER_VARIABLE, "1")) - 1]
    Thread(target=adopt_left_files, args=(house, stop), name="adopt-left-files", daemon=True).start()
    signs = SignsOfLife(engine, name, lambda: (True, "listening"))
    clerk = CommitmentClerk(
        house,
        settings.node.ae_title,
        lambda ae_title, host: requestor(settings, ae_title, host),
        archives(settings),
    )
    # One of the processes writes the letters.
    if name == "node":
        clerk.start()
    signs.start()
    _log.info("node_listens", port=listener.port, ae_title=settings.node.ae_title)
    stop.wait()
    listener.stop()
    if name == "node":
        clerk.stop()
    refused.stop()
    signs.stop()


def adopt_left_files(house: House, stop: Event, *, left_after_s: float = LEFT_AFTER_S) -> None:
    """Account for what the process before this one may have left when it was killed; once, when it must be old.

    Parameters
    ----------
    left_after_s
        Age at which a file without a row waits for no commit any more. It is looked for after twice that time.
    """
    if stop.wait(2 * left_after_s):
        return
    try:
        orphans = adopt_orphans(
            house.book.engine,
            house.spool,
            reception_of(house),
            quiet_rule(house.settings),
            house.settings.data_dir / "orphans",
            older_than_s=left_after_s,
        )
    except RadDraftError as error:
        _log.warning("left_files_not_adopted", code=error.code)
        return
    _log.info("left_files_adopted", adopted=orphans.adopted, copies=orphans.copies)


def _listener_settings(settings: Settings) -> ListenerSettings:
    node = settings.node
    return ListenerSettings(
        ae_title=node.ae_title,
        host=node.host,
        port=node.port,
        peers=tuple(
            AllowedPeer(
                peer.ae_title,
                peer.host,
                PeerLimits(peer.max_associations, peer.max_calls_per_minute),
                frozenset(_NOTICE_CLASSES[notice] for notice in peer.notices),
            )
            for peer in node.peers
        ),
        own_manufacturer=OWN_MANUFACTURER,
        maximum_associations=node.max_associations,
        network_timeout_s=node.network_timeout_s,
        request_timeout_s=node.request_timeout_s,
        object_timeout_s=node.object_timeout_s,
        maximum_object_bytes=node.maximum_object_bytes,
        minimum_free_bytes=node.minimum_free_bytes,
        tls=TlsFiles(node.tls.cert, node.tls.key, node.tls.ca) if node.tls is not None else None,
        limits_file=settings.data_dir / "listener-limits",
    )
