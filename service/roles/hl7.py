"""The HL7 v2 listener's process."""

from __future__ import annotations

import socket

import structlog

from clinical import Permanent
from dicom_node import ServerTls, TlsFiles
from hl7_fhir.v2 import Authorities
from service.hl7_desk import Hl7Desk, Hl7Terms
from service.hl7_listener import Hl7Limits, Hl7Listener
from service.house import open_house
from service.role_process import (
    HL7_SOCKET_VARIABLE,
    SignsOfLife,
    die_with_supervisor,
    inherited_socket,
    stop_on_signals,
)
from service.settings import ConfigurationError, Hl7ListenerSection, Settings
from service.supervisor import RoleCommand, bind_listening_socket, role_command

_log = structlog.get_logger(__name__)

HL7_ROLE = "hl7"


def bind_hl7_socket(settings: Settings) -> socket.socket | None:
    """The listening socket; None where the site has no such listener.

    Raises
    ------
    Permanent
        As `bind_listening_socket` does.
    """
    section = settings.hl7_listener
    if section.port is None:
        return None
    return bind_listening_socket(section.host, section.port, "hl7_listener.port")


def hl7_roles(listening: socket.socket | None, environment: dict[str, str]) -> list[RoleCommand]:
    """The listener's process, which accepts on a socket it inherits; none where there is no socket."""
    if listening is None:
        return []
    descriptor = listening.fileno()
    named = {**environment, HL7_SOCKET_VARIABLE: str(descriptor)}
    return [RoleCommand(HL7_ROLE, role_command(HL7_ROLE), named, (descriptor,))]


def run_hl7(settings: Settings) -> None:
    """The HL7 v2 listener, until SIGTERM.

    Raises
    ------
    ConfigurationError
        If the settings name no port.
    """
    die_with_supervisor()
    section = settings.hl7_listener
    listening = inherited_socket(HL7_SOCKET_VARIABLE) or bind_hl7_socket(settings)
    if listening is None:
        raise ConfigurationError("hl7_listener.port: where to listen is not set", tag="hl7_listener.port")
    stop = stop_on_signals()
    house = open_house(settings)
    desk = Hl7Desk(house, hl7_terms(section))
    listener = Hl7Listener(listening, desk.answer, _limits(section), _tls(section))
    listener.start()
    signs = SignsOfLife(house.book.engine, HL7_ROLE, lambda: listener.state)
    signs.start()
    _log.info("hl7_listens", port=listener.port)
    stop.wait()
    listener.stop()
    signs.stop()


def hl7_terms(section: Hl7ListenerSection) -> Hl7Terms:
    """How the site's messages are read."""
    authorities = Authorities(dict(section.issuers), section.default_authority)
    return Hl7Terms(authorities, section.accession_fields, section.processing_id)


def _limits(section: Hl7ListenerSection) -> Hl7Limits:
    return Hl7Limits(
        peers=section.peers,
        maximum_message_bytes=section.maximum_message_bytes,
        maximum_connections=section.max_connections,
        idle_timeout_s=section.idle_timeout_s,
        message_timeout_s=section.message_timeout_s,
    )


def _tls(section: Hl7ListenerSection) -> ServerTls | None:
    if section.tls is None:
        return None
    try:
        return ServerTls(TlsFiles(section.tls.cert, section.tls.key, section.tls.ca))
    except Permanent as error:
        raise Permanent(error.code, error.message, tag="hl7_listener.tls") from None
