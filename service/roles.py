"""The roles of an installation as commands run them: one process each, or all under `serve`."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

import structlog
import uvicorn

from clinical import Transient
from dicom_node import Listener, ListenerSettings
from service.assembly import (
    OWN_MANUFACTURER,
    House,
    celery_app,
    io_desks,
    open_house,
    quiet_rule,
    reading_desk,
    require_embedded_broker,
    require_shared_broker,
    site_model,
)
from service.book.leases import LeaseKeeper, free_leases
from service.broker import embedded_broker_command, wait_for_embedded_broker
from service.clock import now_utc
from service.http import create_app
from service.intake import BookLedger
from service.orphans import set_orphans_aside
from service.queues import GPU_QUEUE, IO_QUEUE, Hints
from service.role_process import (
    SUPERVISOR_PID_VARIABLE,
    SignsOfLife,
    die_with_supervisor,
    lease_owner_prefix,
    stop_on_signals,
)
from service.scheduler import Sweeper
from service.settings import Settings
from service.supervisor import (
    RoleCommand,
    Supervisor,
    bind_listening_socket,
    lock_data_dir,
    role_command,
)
from service.worker import EngineWatchdog, register_io, register_reading, run_worker_loop

_log = structlog.get_logger(__name__)

NODE_SOCKET_VARIABLE = "RADDRAFT_NODE_SOCKET_FD"
HTTP_SOCKET_VARIABLE = "RADDRAFT_HTTP_SOCKET_FD"
SERVE_ROLES = ("node", "scheduler", "worker-gpu", "worker-io")
_BROKER_PATIENCE_S = 60.0


def run_node(settings: Settings) -> None:
    """The DICOM listener, until SIGTERM."""
    die_with_supervisor()
    stop = stop_on_signals()
    house = open_house(settings)
    ledger = BookLedger(house.book.engine, quiet_rule(settings))
    listener = Listener(
        _listener_settings(settings), house.spool, ledger, listening_socket=_inherited(NODE_SOCKET_VARIABLE)
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
        peers=tuple((peer.ae_title, peer.host) for peer in node.peers),
        own_manufacturer=OWN_MANUFACTURER,
        maximum_associations=node.max_associations,
        network_timeout_s=node.network_timeout_s,
    )


def _inherited(variable: str) -> socket.socket | None:
    descriptor = os.environ.get(variable)
    return socket.socket(fileno=int(descriptor)) if descriptor else None


def run_worker(settings: Settings, queues: Sequence[str]) -> None:
    """A Celery worker for `queues`, until SIGTERM."""
    die_with_supervisor()
    require_shared_broker(settings, "worker")
    house = open_house(settings)
    app = celery_app(settings)
    keeper = LeaseKeeper(house.book.engine, lease_s=settings.lease.lease_s)
    keeper.start()
    name = "worker-" + "-".join(sorted(queues))
    ready = {"ready": False}
    signs = SignsOfLife(
        house.book.engine, name, lambda: (ready["ready"], "ready" if ready["ready"] else "loading")
    )
    signs.start()
    concurrency = 1
    if GPU_QUEUE in queues:
        model = site_model(settings)
        EngineWatchdog(model, stall_s=settings.model.engine_stall_s).start()
        register_reading(app, reading_desk(house, model, Hints(app), keeper))
        concurrency = settings.model.studies_in_flight
        _log.info("model_loaded", model=model.identity.name, engine=model.identity.engine)
    if IO_QUEUE in queues:
        register_io(app, *io_desks(house, Hints(app), keeper))
        concurrency = max(concurrency, settings.delivery.parallel)
    ready["ready"] = True
    signs.note_now()
    try:
        run_worker_loop(app, queues, concurrency=concurrency, name=name)
    finally:
        ready["ready"] = False
        signs.stop()
        keeper.stop()


def run_scheduler(settings: Settings) -> None:
    """The sweeper, until SIGTERM."""
    die_with_supervisor()
    require_shared_broker(settings, "scheduler")
    stop = stop_on_signals()
    house = open_house(settings)
    signs = SignsOfLife(house.book.engine, "scheduler", lambda: (True, "sweeping"))
    signs.start()
    sweeper = Sweeper(house.book.engine, Hints(celery_app(settings)), hint_age_s=settings.lease.hint_age_s)
    sweeper.run(stop, interval_s=settings.lease.sweep_interval_s)
    signs.stop()


def run_api(settings: Settings) -> None:
    """The HTTP API and console, until SIGTERM."""
    die_with_supervisor()
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
    listening = _inherited(HTTP_SOCKET_VARIABLE)
    uvicorn.Server(config).run(sockets=[listening] if listening else None)


def _readiness(house: House, under_supervisor: bool) -> Callable[[], str]:
    """Why this installation is not ready; empty when it is."""

    def reason() -> str:
        try:
            roles = {role.name: role for role in house.book.roles()}
        except Transient as error:
            return error.message
        expected = SERVE_ROLES if under_supervisor else ()
        missing = [name for name in expected if name not in roles]
        if missing:
            return f"not running: {', '.join(missing)}"
        waiting = [f"{role.name} {role.detail}" for role in roles.values() if not role.ready]
        return f"not ready: {', '.join(waiting)}" if waiting else ""

    return reason


def run_serve(settings: Settings) -> None:
    """Everything on one machine, until SIGTERM or SIGINT."""
    lock = lock_data_dir(settings.data_dir)
    node_socket = bind_listening_socket(settings.node.host, settings.node.port, "node.port")
    http_socket = bind_listening_socket(settings.http.host, settings.http.port, "http.port")
    house = open_house(settings)
    # Workers of an earlier supervisor on this data_dir died with it (the lock is ours now): their leases are void.
    freed = free_leases(house.book.engine, f"{socket.gethostname()[:64]}/", now=now_utc())
    aside = set_orphans_aside(house.book.engine, house.spool, settings.data_dir / "orphans")
    _log.info("serve_starts", freed_leases=freed, orphan_files_set_aside=aside)
    stop = stop_on_signals()
    roles = _serve_roles(settings, house, node_socket, http_socket)
    try:
        Supervisor(roles).run(stop)
    finally:
        node_socket.close()
        http_socket.close()
        lock.close()


def _serve_roles(
    settings: Settings, house: House, node_socket: socket.socket, http_socket: socket.socket
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
    node = {**environment, NODE_SOCKET_VARIABLE: str(node_socket.fileno())}
    http = {**environment, HTTP_SOCKET_VARIABLE: str(http_socket.fileno())}
    return [
        *roles,
        RoleCommand("api", role_command("api"), http, (http_socket.fileno(),)),
        RoleCommand("node", role_command("node"), node, (node_socket.fileno(),)),
        RoleCommand("scheduler", role_command("scheduler"), environment, ended=free),
        RoleCommand("worker-io", role_command("worker", "--queues", IO_QUEUE), environment, ended=free),
        RoleCommand("worker-gpu", role_command("worker", "--queues", GPU_QUEUE), environment, ended=free),
    ]


def wait_for_broker(settings: Settings) -> None:
    """Return when the embedded broker answers; a site's own broker is waited for by Celery."""
    if require_embedded_broker(settings):
        wait_for_embedded_broker(settings.data_dir, None, _BROKER_PATIENCE_S)
