"""Everything under ``/dicom-web``."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from service.house import House
from service.http.access import Role, needs
from service.http.dicomweb.answers import PREFIX
from service.http.dicomweb.catalogue import Cataloguer
from service.http.dicomweb.retrieve import Archive
from service.http.dicomweb.retrieve_routes import retrieve_router
from service.http.dicomweb.search_routes import search_router
from service.http.dicomweb.store_routes import store_router
from service.intake import reception_of


def dicomweb_router(house: House) -> APIRouter:
    """QIDO-RS and WADO-RS for viewers, STOW-RS for operators."""
    http = house.settings.http
    cataloguer = Cataloguer(house)
    router = APIRouter(prefix=PREFIX)
    viewer, operator = [Depends(needs(Role.VIEWER, http))], [Depends(needs(Role.OPERATOR, http))]
    router.include_router(search_router(house.book, cataloguer), dependencies=viewer)
    router.include_router(retrieve_router(house.book, Archive(house, cataloguer)), dependencies=viewer)
    router.include_router(store_router(reception_of(house), house.settings.node), dependencies=operator)
    return router
