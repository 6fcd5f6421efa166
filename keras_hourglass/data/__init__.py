"""Data sets: readers of published forms, records of people, checks, augmentation and batches."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.data.augment import Augmentation
    from keras_hourglass.data.check import check_records, describe_records
    from keras_hourglass.data.coco import read_coco
    from keras_hourglass.data.convert import write_coco, write_yolo
    from keras_hourglass.data.deeplabcut import read_deeplabcut
    from keras_hourglass.data.figures import synthetic_records
    from keras_hourglass.data.flic import read_flic
    from keras_hourglass.data.load import load_records, load_scenes, open_image
    from keras_hourglass.data.lsp import read_lsp
    from keras_hourglass.data.mixture import match_joints, mix_records
    from keras_hourglass.data.mpii import read_mpii
    from keras_hourglass.data.pipeline import PoseDataset, SceneDataset
    from keras_hourglass.data.records import PoseRecords
    from keras_hourglass.data.scenes import SceneRecords, read_scenes
    from keras_hourglass.data.sleap import read_sleap
    from keras_hourglass.data.tfrecords import read_tfrecords, write_tfrecords
    from keras_hourglass.data.yolo import read_yolo

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Augmentation": "augment",
        "PoseDataset": "pipeline",
        "PoseRecords": "records",
        "SceneDataset": "pipeline",
        "SceneRecords": "scenes",
        "check_records": "check",
        "describe_records": "check",
        "load_records": "load",
        "load_scenes": "load",
        "match_joints": "mixture",
        "mix_records": "mixture",
        "open_image": "load",
        "read_coco": "coco",
        "read_deeplabcut": "deeplabcut",
        "read_flic": "flic",
        "read_lsp": "lsp",
        "read_mpii": "mpii",
        "read_sleap": "sleap",
        "read_scenes": "scenes",
        "read_tfrecords": "tfrecords",
        "read_yolo": "yolo",
        "synthetic_records": "figures",
        "write_coco": "convert",
        "write_tfrecords": "tfrecords",
        "write_yolo": "convert",
    },
)
