"""TLS towards receivers of results: certificates always verified, TLS 1.2 or newer."""

from __future__ import annotations

import ssl

from clinical import Permanent
from service.settings import ClientTlsSection


def client_tls(section: ClientTlsSection) -> ssl.SSLContext:
    """Context of one destination.

    Raises
    ------
    Permanent
        ``tls-unreadable``: the files the settings name cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(section.ca) if section.ca else None)
        if section.cert is not None:
            context.load_cert_chain(section.cert, section.key)
    except (OSError, ValueError) as error:
        raise Permanent(
            "tls-unreadable",
            f"the certificates of a destination cannot be used ({type(error).__name__})",
            tag="destinations.tls",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
