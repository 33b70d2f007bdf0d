"""RadDraft's DICOMweb on a loopback port, for clients of other makers."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from pydicom import Dataset

from dicom_node import PosixSpool
from service.book import Book
from service.http import create_app
from service.settings import HttpSection, NodeSection, Settings

BOUNDARY = "edge"
STOW = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}


@dataclass
class Web:
    """An account book with its spools, and the API over them."""

    book: Book
    spool: PosixSpool
    results: PosixSpool

    def app(self, http: HttpSection | None = None, node: NodeSection | None = None) -> FastAPI:
        settings = Settings(http=http or HttpSection(), node=node or NodeSection())
        return create_app(settings, self.book, spool=self.spool, results=self.results, readiness=lambda: "")

    def client(self, http: HttpSection | None = None, node: NodeSection | None = None) -> TestClient:
        return TestClient(self.app(http, node), client=("127.0.0.1", 50000))

    def store(
        self, objects: Sequence[bytes], *, study: str = "", client: TestClient | None = None
    ) -> Response:
        path = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
        return (client or self.client()).post(path, content=body(objects), headers=STOW)


def body(objects: Sequence[bytes]) -> bytes:
    """A request's body as STOW-RS has it."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + content + b"\r\n" for content in objects) + f"--{BOUNDARY}--".encode()


def encoded(dataset: Dataset) -> bytes:
    """A data set as the bytes of its file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a free loopback port; its DICOMweb address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            threading.Event().wait(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/dicom-web"
        finally:
            server.should_exit = True
            thread.join()
