"""Made-up archives in the published layout of each data set: a few rows each, no real patient, no image files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from training.datasets.catalogue import Root, Roots

LABEL_COLUMNS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,"
    "Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content))


def labels(**present: str) -> str:
    """One row of the 14 label cells; keyword names use _ for a blank."""
    named = {key.replace("_", " "): value for key, value in present.items()}
    assert set(named) <= set(LABEL_COLUMNS.split(","))
    return ",".join(named.get(column, "") for column in LABEL_COLUMNS.split(","))


def conversation(*turns: tuple[str, str]) -> list[dict[str, str]]:
    spoken = []
    for question, answer in turns:
        spoken += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return spoken


def mimic(root: Path) -> Path:
    """Four images: a PA and a lateral of one training study, an AP for validation, a PA for the test."""
    prefix = root / "mimic-cxr-2.0.0"
    write(
        Path(f"{prefix}-metadata.csv.gz"),
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns\n"
        "aaa,10000001,50000001,CHEST (PA AND LAT),PA,3056,2544\n"
        "bbb,10000001,50000001,CHEST (PA AND LAT),LATERAL,3056,2544\n"
        "ccc,10000002,50000002,CHEST (PORTABLE AP),AP,2544,3056\n"
        "ddd,10000003,50000003,CHEST (PA AND LAT),PA,3056,2544\n",
    )
    write(
        Path(f"{prefix}-split.csv"),
        "dicom_id,study_id,subject_id,split\naaa,50000001,10000001,train\nbbb,50000001,10000001,train\n"
        "ccc,50000002,10000002,validate\nddd,50000003,10000003,test\n",
    )
    write(
        Path(f"{prefix}-chexpert.csv"),
        f"subject_id,study_id,{LABEL_COLUMNS}\n"
        f"10000001,50000001,{labels(No_Finding='1.0', Pneumothorax='-1.0', Lung_Lesion='1.0')}\n"
        f"10000002,50000002,{labels(Edema='0.0')}\n10000003,50000003,{labels(Edema='1.0')}\n",
    )
    write(
        root / "reports.csv",
        "study,impression,findings,last_paragraph,comparison\n"
        's50000001,"Small nodule.","A nodule\n in the right  lung.",,\n'
        "s50000002,No edema.,,,\ns50000003,,,Mild edema.,\n",
    )
    write_json(
        root / "conversations/train/standard/aaa.json",
        conversation(("Is it normal?", "There may be a nodule."), ("Where?", "In the right lung.")),
    )
    write_json(
        root / "conversations_train_grounding/aaa.json",
        conversation(("Where is the nodule?", "At [0.50, 0.25, 0.60, 0.30].")),
    )
    return root


def chexpert(root: Path) -> Path:
    header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{LABEL_COLUMNS}\n"
    patient = "CheXpert-v1.0-small/train/patient00001/study1"
    write(
        root / "train.csv",
        header
        + f"{patient}/view1_frontal.jpg,Male,60,Frontal,AP,"
        + labels(No_Finding="1.0", Support_Devices="1.0", Edema="-1.0")
        + f"\n{patient}/view2_lateral.jpg,Male,60,Lateral,,{labels()}\n",
    )
    write(
        root / "test.csv",
        header.replace("Sex,Age,Frontal/Lateral,AP/PA,", "")
        + f"test/patient00009/study1/view1_frontal.jpg,{labels(Atelectasis='1.0', Pleural_Effusion='1.0')}\n",
    )
    return root


def chexpert_plus(root: Path) -> Path:
    study = "train/patient00002/study3"
    write(
        root / "df_chexpert_plus_240401.csv",
        "path_to_image,split,frontal_lateral,section_findings,section_impression,section_end_of_impression\n"
        f"{study}/view1_frontal.jpg,train,Frontal,CLEAR  LUNGS.,,\n"
        f"{study}/view2_lateral.jpg,train,Lateral,CLEAR LUNGS.,,\n"
        "valid/patient00005/study1/view1_frontal.jpg,valid,Frontal,,NO FOCUS.,\n",
    )
    return root


def imagenome(root: Path) -> Path:
    box = {"original_x1": 254.4, "original_y1": 305.6, "original_x2": 1272, "original_y2": 1528}
    for split, dicom_ids in {"train": ("aaa", "gone"), "valid": ("ccc",), "test": ("ddd",)}.items():
        lines = "".join(f"1,2,{dicom_id}\n" for dicom_id in dicom_ids)
        write(root / f"silver_dataset/splits/{split}.csv", "subject_id,study_id,dicom_id\n" + lines)
    for dicom_id in ("aaa", "ccc", "ddd"):
        regions = [{"bbox_name": "right lung", **box}, {"bbox_name": "carina", **box}]
        write_json(root / f"silver_dataset/scene_graph/{dicom_id}_SceneGraph.json", {"objects": regions})
    return root


def ms_cxr(root: Path) -> Path:
    write(
        root / "MS_CXR_Local_Alignment_v1.0.0.csv",
        "category_name,label_text,path,x,y,w,h,image_width,image_height,dicom_id\n"
        "Lung Opacity,Two opacities,files/aaa.jpg,254,306,254,306,2544,3056,aaa\n"
        "Lung Opacity,Two opacities,files/aaa.jpg,1272,1528,254,306,2544,3056,aaa\n"
        "Edema,Mild edema,files/ccc.jpg,0,0,3056,2544,3056,2544,ccc\n",
    )
    return root


def vindr(root: Path) -> Path:
    """One image with two readers' overlapping nodules and a third finding, one normal image."""
    write(
        root / "annotations/annotations_train.csv",
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
        "i1,R1,Nodule/Mass,100,200,200,300\ni1,R2,Nodule/Mass,140,240,240,340\n"
        "i1,R1,ILD,500,500,900,900\ni2,R1,No finding,,,,\n",
    )
    write_json(root / "image_resolutions_train.json", {"i1": [2000, 1000], "i2": [1000, 1000]})
    return root


def padchest(root: Path) -> Path:
    findings = [
        {"sentence_en": "Nodule in the left lung.", "boxes": [[0.6, 0.2, 0.7, 0.3]]},
        {"sentence_en": "No effusion.", "boxes": []},
    ]
    entries = [{"ImageID": f"{name}.png", "findings": findings} for name in ("one", "two", "side")]
    write_json(root / "grounded_reports_20240819.json", entries)
    write(
        root / "master_table.csv",
        "StudyID,ImageID,PatientID,split\n1,one.png,p1,train\n2,two.png,p2,validation\n3,side.png,p3,train\n",
    )
    write(
        root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        "ImageID,Projection\none.png,PA\ntwo.png,AP\nside.png,L\n",
    )
    (root / "images_grounding").mkdir()
    write_json(
        root / "conversations_train_grounding_padchest/two.json", conversation(("Any nodule?", "Yes."))
    )
    return root


def all_archives(folder: Path) -> Roots:
    """Every archive below `folder`."""
    makers = {
        Root.MIMIC: mimic, Root.CHEXPERT: chexpert, Root.CHEXPERT_PLUS: chexpert_plus,
        Root.IMAGENOME: imagenome, Root.MS_CXR: ms_cxr, Root.VINDR: vindr, Root.PADCHEST: padchest,
    }  # fmt: skip
    for root in makers:
        (folder / root.value).mkdir(parents=True)
    return {root: make(folder / root.value) for root, make in makers.items()}
