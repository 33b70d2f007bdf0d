"""DICOMweb (PS3.18): search, retrieval and storage over what the account book holds."""

from service.http.dicomweb.router import dicomweb_router

__all__ = ["dicomweb_router"]
