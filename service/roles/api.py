"""The HTTP API's process."""

from __future__ import annotations

import os
from collections.abc import Callable

import uvicorn

from clinical import Transient
from dicom_node.library_words import silence_libraries
from service.house import House, open_house
from service.http import create_app
from service.role_process import (
    HTTP_SOCKET_VARIABLE,
    SUPERVISOR_PID_VARIABLE,
    die_with_supervisor,
    inherited_socket,
    reading_workers,
)
from service.roles.hl7 import HL7_ROLE
from service.roles.node import listener_names
from service.settings import Settings

_SERVE_ROLES = ("scheduler", "worker-io")


def run_api(settings: Settings) -> None:
    """The HTTP API and console, until SIGTERM."""
    die_with_supervisor()
    silence_libraries()
    house = open_house(settings)
    under_supervisor = SUPERVISOR_PID_VARIABLE in os.environ
    app = create_app(
        settings,
        house.book,
        spool=house.spool,
        results=house.results,
        readiness=_readiness(house, under_supervisor),
    )
    tls = settings.http.tls
    config = uvicorn.Config(
        app,
        host=settings.http.host,
        port=settings.http.port,
        log_level="warning",
        access_log=False,
        ssl_certfile=str(tls.cert) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
        server_header=False,
    )
    listening = inherited_socket(HTTP_SOCKET_VARIABLE)
    uvicorn.Server(config).run(sockets=[listening] if listening else None)


def _readiness(house: House, under_supervisor: bool) -> Callable[[], str]:
    """Why this installation is not ready; empty when it is."""

    def reason() -> str:
        try:
            roles = {role.name: role for role in house.book.roles()}
        except Transient as error:
            return error.message
        readers = [name for name, _ in reading_workers(house.settings)]
        hl7 = [HL7_ROLE] if house.settings.hl7_listener.port is not None else []
        roles_of_serve = [*listener_names(house.settings), *hl7, *_SERVE_ROLES, *readers]
        expected = roles_of_serve if under_supervisor else []
        missing = [name for name in expected if name not in roles]
        if missing:
            return f"not running: {', '.join(missing)}"
        waiting = [f"{role.name} {role.detail}" for role in roles.values() if not role.ready]
        return f"not ready: {', '.join(waiting)}" if waiting else ""

    return reason
