"""Objects of an older edition, known by their SHA-256, in a book whose new ones are known by BLAKE3."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import service.book
from dicom_node import Caller, DigestAlgorithm, IncomingObject, PosixSpool, Reception
from dicom_node.file_format import read_file_meta
from service.book import Book, migrate
from service.book.purge import RetentionRule
from service.house import OWN_MANUFACTURER
from service.intake import BookLedger
from service.orphans import Orphans, adopt_orphans
from service.retention import Retention
from tests.service.arrivals import QUIET, RECEIVED_AT_UTC
from tests.service.test_comparing import radiograph


def receptions(book: Book, folder: Path) -> tuple[Reception, Reception, PosixSpool]:
    """How the older edition takes objects in, how this one does, and the spool of both."""
    ledger = BookLedger(book.engine, QUIET)
    older, spool = (PosixSpool(folder, each) for each in (DigestAlgorithm.SHA256, DigestAlgorithm.BLAKE3))
    limits = {"own_manufacturer": OWN_MANUFACTURER, "object_bytes_max": 1 << 30}
    return Reception(older, ledger, **limits), Reception(spool, ledger, **limits), spool


def send(reception: Reception, content: bytes) -> str:
    """Send one object; return the digest it is known by."""
    meta = read_file_meta(content)
    incoming = IncomingObject(
        meta.sop_class_uid,
        meta.sop_instance_uid,
        meta.transfer_syntax_uid,
        dataset=content[meta.dataset_starts :],
    )
    return reception.receive(incoming, Caller("MODALITY", "127.0.0.1", "RADDRAFT")).digest


def test_what_was_known_by_its_sha256_is_known_when_it_is_sent_again(book: Book, tmp_path: Path) -> None:
    before, now, spool = receptions(book, tmp_path / "spool")
    first, other = radiograph(), radiograph(PatientName="Roe^Richard")
    digest = send(before, first)
    (key,) = spool.keys()
    assert digest == hashlib.sha256(spool.path(key).read_bytes()).hexdigest()
    assert send(now, first) == digest
    assert list(spool.keys()) == [key]
    # The same SOP Instance UID with other bytes is another object, and known by the new algorithm.
    assert [send(now, other) for _ in range(2)] == [send(now, other)] * 2
    assert send(now, other).startswith("blake3:")
    account = book.account(spool, deep=True)
    assert (account.balanced, account.objects, account.acknowledged) == (True, 2, 6)


def test_a_purged_object_of_the_older_edition_gets_its_file_back(book: Book, tmp_path: Path) -> None:
    before, now, spool = receptions(book, tmp_path / "spool")
    digest = send(before, radiograph())
    with book.engine.begin() as connection:
        connection.execute(text("UPDATE studies SET state = 'done'"))
        connection.execute(text("UPDATE instances SET state = 'analysed'"))
    rule, results = RetentionRule(received_days=30), PosixSpool(tmp_path / "results")
    Retention(book.engine, spool, results, rule, "user:tester").purge(RECEIVED_AT_UTC + timedelta(days=9999))
    assert list(spool.keys()) == []
    assert send(now, radiograph()) == digest
    account = book.account(spool, deep=True)
    assert (account.balanced, account.objects, account.acknowledged) == (True, 1, 2)


def test_a_file_without_a_row_is_compared_by_the_digest_its_object_has(book: Book, tmp_path: Path) -> None:
    before, now, spool = receptions(book, tmp_path / "spool")
    send(before, radiograph())
    (key,) = spool.keys()
    spool.put(spool.path(key).read_bytes())
    assert adopt_orphans(book.engine, spool, now, QUIET, tmp_path / "orphans") == Orphans(copies=1)
    spool.put(spool.path(key).read_bytes())
    spool.delete(key)
    assert adopt_orphans(book.engine, spool, now, QUIET, tmp_path / "orphans") == Orphans(restored=1)
    assert list(spool.keys()) == [key] and book.account(spool, deep=True).balanced


@pytest.mark.parametrize("edition", ["before", "now"])
def test_one_changed_byte_is_found_whatever_the_digest(book: Book, tmp_path: Path, edition: str) -> None:
    before, now, spool = receptions(book, tmp_path / "spool")
    send(before if edition == "before" else now, radiograph())
    (key,) = spool.keys()
    assert book.account(spool, deep=True).balanced
    with spool.path(key).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        (last,) = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    assert [p.code for p in book.account(spool, deep=True).problems] == ["file-changed"]


def test_a_book_of_the_older_edition_keeps_its_digests(book: Book, book_url: str, tmp_path: Path) -> None:
    before, now, spool = receptions(book, tmp_path / "spool")
    digest = send(before, radiograph())
    config = Config()
    config.set_main_option("script_location", str(Path(service.book.__file__).parent / "migrations"))
    with book.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "notices")
        columns = text("SELECT dataset_sha256, file_sha256 FROM instances")
        assert connection.execute(columns).one() == (digest, digest)
    book.engine.dispose()
    migrate(book_url)
    assert send(now, radiograph()) == digest
    account = book.account(spool, deep=True)
    assert (account.balanced, account.objects, account.acknowledged) == (True, 1, 2)
