"""Who made an object: the equipment attributes of every result, and its deterministic times and UIDs."""

from __future__ import annotations

from datetime import datetime

from pydicom import Dataset, Sequence
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from clinical import Draft, object_uid
from reporting.site_profile import SiteProfile
from reporting.source import encodable

# RadDraft's own implementation, derived once from its name (PS3.7 D.3.3.2).
_IMPLEMENTATION_CLASS_UID = "2.25.164195904990690805692545054873771844916"
_IMPLEMENTATION_VERSION_NAME = "RADDRAFT"


def result_uid(draft: Draft, kind: str, *extra: str) -> str:
    """UID of an object or series of this Draft version: same content, same UID."""
    return object_uid(
        kind=kind,
        source_uids=draft.image_uids,
        header_digest=draft.header_digest,
        model_device_uid=draft.model.device_uid,
        configuration_sha256=draft.configuration_sha256,
        draft_version=draft.version,
        extra=(draft.study_instance_uid, f"{draft.completed_at_utc.isoformat()}", *extra),
    )


def software_versions(draft: Draft) -> str:
    """(0018,1020): product and model, 64 characters at most."""
    return f"{draft.product_version} / {draft.model.name} {draft.model.version}"[:64]


def stamp(dataset: Dataset, draft: Draft, profile: SiteProfile) -> None:
    """Times from the Draft, equipment, contributing equipment with Device UID (PS3.3 C.7.5.1, C.12.1.1.5)."""
    made: datetime = draft.completed_at_utc
    # Times are UTC and say so; the source's own offset would belong to its times only.
    for keyword in ("ContentDate", "InstanceCreationDate", "SeriesDate", "PresentationCreationDate"):
        if keyword in dataset or keyword in ("InstanceCreationDate", "SeriesDate"):
            setattr(dataset, keyword, made.strftime("%Y%m%d"))
    for keyword in ("ContentTime", "InstanceCreationTime", "SeriesTime", "PresentationCreationTime"):
        if keyword in dataset or keyword in ("InstanceCreationTime", "SeriesTime"):
            setattr(dataset, keyword, made.strftime("%H%M%S"))
    dataset.Manufacturer = profile.manufacturer
    dataset.ManufacturerModelName = profile.model_name
    dataset.DeviceSerialNumber = draft.model.weights_sha256[:16]
    dataset.SoftwareVersions = software_versions(draft)
    dataset.ContributingEquipmentSequence = Sequence([_contributing(draft, profile)])
    dataset.file_meta = _file_meta(dataset)


def _contributing(draft: Draft, profile: SiteProfile) -> Dataset:
    """The algorithm as IHE AIR 6.5.3.1 asks: purpose, maker, model, version, Device UID."""
    item = Dataset()
    purpose = Dataset()
    purpose.CodeValue = "109102"
    purpose.CodingSchemeDesignator = "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    item.Manufacturer = profile.manufacturer
    item.ManufacturerModelName = draft.model.name[:64]
    item.DeviceSerialNumber = draft.model.weights_sha256[:16]
    item.SoftwareVersions = f"{draft.model.version} {draft.model.engine}"[:64]
    item.DeviceUID = draft.model.device_uid
    item.ContributionDateTime = draft.completed_at_utc.strftime("%Y%m%d%H%M%S+0000")
    item.ContributionDescription = (draft.model.statement or "AI draft, not verified")[:1024]
    return item


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = _IMPLEMENTATION_VERSION_NAME
    return meta


def copy_source(dataset: Dataset, copied: Dataset) -> None:
    """Put the source's patient and study attributes back as their author wrote them."""
    for element in copied:
        dataset.add(element)
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "AccessionNumber",
    ):
        if keyword not in dataset:
            setattr(dataset, keyword, "")


def series_description(what: str, draft: Draft, header: Dataset) -> str:
    """(0008,103E), 64 characters at most: product, content, and what the model says of itself."""
    warning = ", NOT FOR CLINICAL USE" if "NOT FOR CLINICAL USE" in draft.model.statement else ", unverified"
    return encodable(f"RadDraft AI {what}{warning}"[:64], header)
