"""Who observed: a device, never a person (TID 1001, TID 1004)."""

from __future__ import annotations

from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
from pydicom import Dataset
from pydicom.sr.codedict import codes

from clinical import Draft
from reporting.charset import long_string
from reporting.equipment import algorithm_name, serial_number
from reporting.site_profile import SiteProfile


def device_observer(draft: Draft, header: Dataset, profile: SiteProfile) -> ObservationContext:
    """TID 1001: the observer is a device (TID 1004), whose UID changes whenever the model does."""
    return ObservationContext(observer_device_context=device_context(draft, header, profile))


def device_context(draft: Draft, header: Dataset, profile: SiteProfile) -> ObserverContext:
    """TID 1002 of the device."""
    model = draft.model
    device = DeviceObserverIdentifyingAttributes(
        uid=model.device_uid,
        name=long_string(model.name, header) or "-",
        manufacturer_name=profile.manufacturer,
        model_name=algorithm_name(draft, header),
        serial_number=serial_number(draft) or None,
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
