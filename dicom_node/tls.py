"""TLS of the listener by BCP 195 (RFC 9325; secure transport connection profiles of PS3.15 Annex B)."""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from clinical import Permanent

_log = logging.getLogger(__name__)

# RFC 9325 section 4.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate (with its chain), its private key, and the authorities callers must come from."""

    cert: Path
    key: Path
    ca: Path


class ServerTls:
    """The listener's TLS context, made anew when a file has changed: certificates are renewed without a restart.

    Callers must have a certificate of a known authority. A renewal that cannot be read leaves the one before in force,
    and is tried again with the next call.

    Raises
    ------
    Permanent
        ``tls-unreadable`` if the files cannot be used at the start.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = Lock()
        self._seen = self._stamps()
        self._context = server_context(files)

    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                try:
                    self._context = server_context(self._files)
                    self._seen = stamps
                    _log.info("node.tls: certificates read again")
                except Permanent as error:
                    _log.error("node.tls: %s; the certificates of before stay in force", error.code)
            return self._context

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        stamps = []
        for path in (self._files.cert, self._files.key, self._files.ca):
            try:
                told = os.stat(path)
                stamps.append((told.st_mtime_ns, told.st_ino))
            except OSError:
                stamps.append((0, 0))
        return tuple(stamps)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """A context for a listener that requires client certificates.

    Raises
    ------
    Permanent
        ``tls-unreadable``: the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(files.cert, files.key)
        context.load_verify_locations(files.ca)
    except (OSError, ValueError) as error:
        raise Permanent(
            "tls-unreadable",
            f"the listener's certificate, key or authorities cannot be used ({type(error).__name__})",
            tag="node.tls",
        ) from None
    return context
