"""Messages to a syslog server over TLS: RFC 5424 in the frames of RFC 5425, as IHE ATNA (ITI-20) has it."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from clinical import Transient

# ITI-20: facility 10 (security), severity 5 (notice).
_PRIORITY = 10 * 8 + 5
_MESSAGE_ID = "DICOM+RFC3881"
_APPLICATION = "raddraft"
_TIMEOUT_S = 15.0
_BOM = b"\xef\xbb\xbf"


def syslog_message(content: bytes, at_utc: datetime, host: str) -> bytes:
    """One audit message as RFC 5424 has it; `content` is UTF-8."""
    stamp = at_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = "".join(c for c in host if 33 <= ord(c) <= 126)[:255] or "-"
    head = f"<{_PRIORITY}>1 {stamp} {name} {_APPLICATION} {os.getpid()} {_MESSAGE_ID} - "
    return head.encode("ascii") + _BOM + content


def send_to_syslog(
    messages: Sequence[bytes], host: str, port: int, tls: Callable[[], ssl.SSLContext]
) -> None:
    """Send messages, and end the session as RFC 5425 4.4 says, so that the server has read what was sent before it.

    Syslog has no acknowledgement: a server that dies between reading and writing loses what it read.

    Raises
    ------
    Transient
        ``syslog-unreachable``: no connection, no agreement on TLS, or it ended before everything was sent.
    """
    frames = b"".join(b"%d %s" % (len(message), message) for message in messages)
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain,
            tls().wrap_socket(plain, server_hostname=host) as secured,
        ):
            secured.sendall(frames)
            # Many servers answer close_notify with the end of the connection.
            with suppress(ssl.SSLError, ConnectionResetError, TimeoutError):
                secured.unwrap()
    except (OSError, ssl.SSLError) as error:
        raise Transient(
            "syslog-unreachable", f"the audit repository did not take the events ({type(error).__name__})"
        ) from error
