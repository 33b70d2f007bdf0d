"""An installation as every role sees it: settings, account book, spools, broker."""

from __future__ import annotations

from dataclasses import dataclass

from celery import Celery

from clinical import Permanent
from dicom_node import DigestAlgorithm, PosixSpool
from service.book import Book, migrate, open_book
from service.broker import embedded_broker_url
from service.displayed_shelf import DisplayedShelf
from service.queues import make_celery
from service.settings import Settings

# Manufacturer (0008,0070) of every result, by which our own are known when they come back.
OWN_MANUFACTURER = "RadDraft"


@dataclass(frozen=True, slots=True)
class House:
    """The account book and the two spools of an installation, opened in this process."""

    settings: Settings
    book: Book
    spool: PosixSpool
    results: PosixSpool


def database_url(settings: Settings) -> str:
    """URL of the account book: the site's, or SQLite beside the spool."""
    return settings.database.url or f"sqlite:///{settings.data_dir / 'raddraft.sqlite'}"


def broker_url(settings: Settings) -> str:
    """URL of the broker: the site's, or the embedded one's socket."""
    return settings.broker.url or embedded_broker_url(settings.data_dir)


def open_house(settings: Settings) -> House:
    """Open (and at the first start, make) book and spools; refuse a book of another spool."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    migrate(database_url(settings))
    book = open_book(database_url(settings))
    spool = PosixSpool(settings.data_dir / "spool", DigestAlgorithm.BLAKE3)
    book.claim_spool(spool.identity())
    return House(settings, book, spool, PosixSpool(settings.data_dir / "results"))


def displayed_shelf(settings: Settings) -> DisplayedShelf:
    """Where decoded images lie between the reading and the building of faces, on this machine."""
    return DisplayedShelf(settings.data_dir / "displayed", settings.decode.keep_bytes)


def celery_app(settings: Settings) -> Celery:
    """Celery on the site's broker."""
    return make_celery(broker_url(settings))


def require_embedded_broker(settings: Settings) -> bool:
    """Whether `serve` must run the embedded broker itself.

    Raises
    ------
    Permanent
        ``no-broker`` where a role alone has no broker it could share with the others.
    """
    return settings.broker.url is None


def require_shared_broker(settings: Settings, role: str) -> None:
    """Refuse a role alone that could never hear from the others."""
    socket = settings.data_dir / "broker" / "redis.sock"
    if settings.broker.url is None and not socket.exists():
        raise Permanent(
            "no-broker",
            f"{role} alone needs broker.url (or a running `raddraft serve` here)",
            tag="broker.url",
        )
