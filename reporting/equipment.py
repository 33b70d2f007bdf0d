"""Who made an object, when, and under which UID: everything about that comes from the Draft."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.charset import convert_encodings
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import UID, ExplicitVRLittleEndian

from clinical import CodedTerm, Draft, object_uid
from reporting.charset import long_string, writable
from reporting.site_profile import SiteProfile
from reporting.source import REQUESTS, copied_attributes, text_of, writable_element

# RadDraft's own implementation, derived once from its name (PS3.7 D.3.3.2).
_IMPLEMENTATION_CLASS_UID = "2.25.164195904990690805692545054873771844916"
_IMPLEMENTATION_VERSION_NAME = "RADDRAFT"
_OFFSET = re.compile(r"([+-])(0\d|1[0-4])([0-5]\d)")
_SERIAL_LENGTH = 16
_LONG_TEXT_LONGEST = 1024


def result_uid(draft: Draft, kind: str, *extra: str) -> str:
    """UID of an object or series of this Draft version.

    The same Draft gets the same UID again; whatever else goes into the content - headers, model, configuration,
    product, the time of the reading - makes another, as no UID may ever name two contents.
    """
    return object_uid(
        kind=kind,
        source_uids=draft.image_uids,
        header_digest=draft.header_digest,
        model_device_uid=draft.model.device_uid,
        configuration_sha256=draft.configuration_sha256,
        draft_version=draft.version,
        extra=(draft.study_instance_uid, draft.product_version, draft.completed_at_utc.isoformat(), *extra),
    )


def made_at(draft: Draft, header: Dataset, profile: SiteProfile) -> datetime:
    """When the Draft was completed, in the zone its object's dates and times are in."""
    return local_time(draft.completed_at_utc, header, profile)


def made_words(draft: Draft, header: Dataset, profile: SiteProfile) -> str:
    """`made_at` in words: "2024-03-05 18:30:15 UTC-05:00"."""
    made = made_at(draft, header, profile)
    offset = made.strftime("%z")
    zone = "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}"
    return f"{made:%Y-%m-%d %H:%M:%S} {zone}"


def local_time(moment: datetime, header: Dataset, profile: SiteProfile) -> datetime:
    """A moment in the zone the dates and times of an object are in.

    (0008,0201) of the source holds for every DA and TM of the object it is copied into, ours included.
    """
    stated = _OFFSET.fullmatch(text_of(header, "TimezoneOffsetFromUTC"))
    if stated is None:
        return moment.astimezone(ZoneInfo(profile.time_zone))
    sign, hours, minutes = stated.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    return moment.astimezone(timezone(offset))


def serial_number(draft: Draft) -> str:
    """(0018,1000): the start of the weights' digest."""
    return draft.model.weights_sha256[:_SERIAL_LENGTH]


def algorithm_name(draft: Draft, header: Dataset) -> str:
    """The model's name, the same wherever an object names its algorithm (IHE AIR Rev. 1.3, Table 6.5.3.1-1)."""
    return long_string(draft.model.name, header) or "-"


def algorithm_version(draft: Draft, header: Dataset) -> str:
    """The model's version, the same wherever an object names it."""
    return long_string(draft.model.version, header) or "-"


def software_versions(draft: Draft, header: Dataset) -> list[str]:
    """(0018,1020) of the object: product, model and engine."""
    model = draft.model
    parts = (f"RadDraft {draft.product_version}", f"{model.name} {model.version}", model.engine)
    return [long_string(part, header) for part in parts if part]


def series_description(what: str, draft: Draft, header: Dataset, profile: SiteProfile) -> str:
    """(0008,103E), 64 characters at most: product, content, and what the model says of itself."""
    warning = (
        "NOT FOR CLINICAL USE" if "NOT FOR CLINICAL USE" in draft.model.statement.upper() else "unverified"
    )
    return long_string(f"{profile.series_prefix} {what}, {warning}", header)


def finish(
    dataset: Dataset,
    draft: Draft,
    header: Dataset,
    profile: SiteProfile,
    *,
    at_utc: datetime | None = None,
) -> None:
    """Patient and study as the source has them, equipment and times of our own, and nothing of the present moment.

    Parameters
    ----------
    at_utc
        When what the object says was decided; the Draft's own time where it is None.
    """
    copied = copied_attributes(header)
    for element in copied:
        dataset[element.tag] = element
    if not text_of(dataset, "StudyInstanceUID"):
        dataset.StudyInstanceUID = draft.study_instance_uid
    _stamp_times(dataset, local_time(at_utc or draft.completed_at_utc, header, profile))
    dataset.Manufacturer = profile.manufacturer
    dataset.ManufacturerModelName = profile.model_name
    dataset.DeviceSerialNumber = serial_number(draft)
    dataset.SoftwareVersions = software_versions(draft, header)
    dataset.ContributingEquipmentSequence = DicomSequence([_contribution(draft, header, profile)])
    dataset.file_meta = _file_meta(dataset)
    _keep_bytes(dataset)


def _keep_bytes(dataset: Dataset) -> None:
    """Declare the encoding its copied text already has, or pydicom would decode and encode it once more."""
    correct_ambiguous_vr(dataset, True)
    charset = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
    dataset.set_original_encoding(
        is_implicit_vr=False, is_little_endian=True, character_encoding=convert_encodings(charset)
    )


def copy_request_attributes(dataset: Dataset, header: Dataset) -> None:
    """The order a source belongs to, as (0040,0275) of the result's series (PS3.3 C.7.3.1)."""
    element = writable_element(header, REQUESTS[1])
    if element is not None and element.value:
        dataset.add(element)


def coded(term: CodedTerm) -> Dataset:
    """Code sequence item of a term (PS3.3 Table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = term.value, term.scheme
    item.CodeMeaning = term.meaning[:64]
    return item


def _stamp_times(dataset: Dataset, made: datetime) -> None:
    day, time = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = day, time
    dataset.SeriesDate, dataset.SeriesTime = day, time
    for what in ("Content", "PresentationCreation"):
        if f"{what}Date" in dataset:
            setattr(dataset, f"{what}Date", day)
            setattr(dataset, f"{what}Time", time)


def _contribution(draft: Draft, header: Dataset, profile: SiteProfile) -> Dataset:
    """The algorithm as IHE AIR asks (Rev. 1.3 of 2025-08-08, 6.5.3.1): purpose, maker, name, version and Device UID.

    Name and version are those of the report's tree (TID 1004, TID 4019), value for value.
    """
    item, model = Dataset(), draft.model
    # The revisions before 1.3 had a placeholder in the place of this code.
    purpose = coded(CodedTerm("109102", "DCM", "Processing Equipment"))
    item.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    item.Manufacturer = profile.manufacturer
    item.ManufacturerModelName = algorithm_name(draft, header)
    item.DeviceSerialNumber = serial_number(draft)
    item.DeviceUID = model.device_uid
    item.SoftwareVersions = algorithm_version(draft, header)
    made = made_at(draft, header, profile)
    item.ContributionDateTime = made.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = writable(
        model.statement or "Reading by an AI model, not verified by a person", header
    )[:_LONG_TEXT_LONGEST]
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
