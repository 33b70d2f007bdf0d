"""`raddraft serve`: every role under one supervisor."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict

import structlog

from clinical import Transient
from service.auditing import note_configuration
from service.book.audit import user_actor
from service.book.leases import free_leases
from service.broker import embedded_broker_command
from service.clock import now_utc
from service.house import House, open_house, require_embedded_broker
from service.intake import quiet_rule, reception_of
from service.orphans import adopt_orphans
from service.queues import GPU_QUEUE, IO_QUEUE
from service.role_process import (
    HTTP_SOCKET_VARIABLE,
    ROLE_NAME_VARIABLE,
    SUPERVISOR_PID_VARIABLE,
    lease_owner_prefix,
    reading_workers,
    stop_on_signals,
)
from service.roles.hl7 import bind_hl7_socket, hl7_roles
from service.roles.node import listener_roles
from service.settings import Settings
from service.supervisor import RoleCommand, Supervisor, bind_listening_socket, lock_data_dir, role_command

_log = structlog.get_logger(__name__)


def run_serve(settings: Settings) -> None:
    """Everything on one machine, until SIGTERM or SIGINT."""
    lock = lock_data_dir(settings.data_dir)
    node_socket = bind_listening_socket(settings.node.host, settings.node.port, "node.port")
    http_socket = bind_listening_socket(settings.http.host, settings.http.port, "http.port")
    hl7_socket = bind_hl7_socket(settings)
    house = open_house(settings)
    # Workers of an earlier supervisor on this data_dir died with it (the lock is ours now): their leases are void.
    freed = free_leases(house.book.engine, f"{socket.gethostname()[:64]}/", now=now_utc())
    note_configuration(house.book.engine, settings, user_actor(), now=now_utc())
    orphans = adopt_orphans(
        house.book.engine,
        house.spool,
        reception_of(house),
        quiet_rule(settings),
        settings.data_dir / "orphans",
    )
    _log.info("serve_starts", freed_leases=freed, **{f"orphans_{k}": v for k, v in asdict(orphans).items()})
    stop = stop_on_signals()
    roles = _serve_roles(settings, house, node_socket, http_socket, hl7_socket)
    supervisor = Supervisor(roles)
    if not sys.stdin.isatty():
        # At a terminal SIGHUP says that the terminal is gone, and ends us as it ends any program.
        signal.signal(signal.SIGHUP, lambda *_: supervisor.reload())
    try:
        supervisor.run(stop)
    finally:
        node_socket.close()
        http_socket.close()
        if hl7_socket is not None:
            hl7_socket.close()
        lock.close()


def _serve_roles(
    settings: Settings,
    house: House,
    node_socket: socket.socket,
    http_socket: socket.socket,
    hl7_socket: socket.socket | None,
) -> list[RoleCommand]:
    me = str(os.getpid())
    environment = {SUPERVISOR_PID_VARIABLE: me}

    def free(pid: int) -> None:
        try:
            free_leases(house.book.engine, f"{lease_owner_prefix(me)}{pid}", now=now_utc())
        except Transient as error:
            _log.warning("leases_not_freed", code=error.code)

    roles = []
    if require_embedded_broker(settings):
        roles.append(RoleCommand("broker", embedded_broker_command(settings.data_dir)))
    http = {**environment, HTTP_SOCKET_VARIABLE: str(http_socket.fileno())}
    return [
        *roles,
        RoleCommand("api", role_command("api"), http, (http_socket.fileno(),)),
        *listener_roles(settings, node_socket, environment),
        *hl7_roles(hl7_socket, environment),
        RoleCommand("scheduler", role_command("scheduler"), environment, ended=free),
        RoleCommand("worker-io", role_command("worker", "--queues", IO_QUEUE), environment, ended=free),
        *(_reading_worker(name, device, environment, free) for name, device in reading_workers(settings)),
    ]


def _reading_worker(
    name: str, device: int | None, environment: dict[str, str], ended: Callable[[int], None]
) -> RoleCommand:
    # The worker sees one GPU, as its first.
    sees = {} if device is None else {"CUDA_VISIBLE_DEVICES": str(device)}
    named = {**environment, ROLE_NAME_VARIABLE: name, **sees}
    return RoleCommand(name, role_command("worker", "--queues", GPU_QUEUE), named, ended=ended, reloads=True)
