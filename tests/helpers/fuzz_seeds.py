"""Small whole files of every kind that is read, and who reads them: where `fuzz_readers` starts.

Everything is made here, without TensorFlow. What a reader needs beside the file is written beside
it. Readers whose package is not installed are left out.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import pathlib
import pickle
import struct
import tempfile
import zipfile

import cv2
import h5py
import numpy as np
import scipy.io
from PIL import Image

from keras_hourglass.data.load import load_records, load_scenes, open_image
from keras_hourglass.errors import DataError
from keras_hourglass.evaluation.exchange import load_predictions, read_keypoints
from keras_hourglass.io.arrays import read_hdf5, read_npz
from keras_hourglass.io.images import read_image, shown_size
from keras_hourglass.io.structured import format_yaml, read_yaml
from keras_hourglass.metrics import average_precision
from keras_hourglass.network.graph import Graph
from keras_hourglass.network.variables import file_keys, named_variables
from keras_hourglass.prediction.boxes import read_boxes
from keras_hourglass.prediction.pictures import open_pictures
from keras_hourglass.training.recipe import Recipe, load_recipe
from keras_hourglass.zoo.porting import read_checkpoint
from keras_hourglass.zoo.store import load_snapshot, read_config
from keras_hourglass.zoo.weights import checked, read_arrays

NAMES = ["nose", "left_hip", "right_hip"]
RNG = np.random.default_rng(0)
SMALL = cv2.resize(RNG.integers(0, 256, (5, 6, 3), np.uint8), (60, 48))


def usable(package):
    """Whether a package is there and can be imported."""
    try:
        importlib.import_module(package)
    except Exception:  # of a broken one, whatever it raises
        return False
    return True


def as_file(write, suffix=""):
    """The bytes that a function writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def hdf5(**datasets):
    def write(path):
        with h5py.File(path, "w") as file:
            for name, value in datasets.items():
                file[name] = value

    return as_file(write)


def archive(**arrays):
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def matlab(values):
    made = io.BytesIO()
    scipy.io.savemat(made, values)
    return made.getvalue()


# Pictures

_MODES = {
    "jpeg": ("RGB", "L", "CMYK"),
    "png": ("RGB", "L", "P", "LA", "RGBA", "1", "I;16"),
    "webp": ("RGB", "RGBA"),
    "tiff": ("RGB", "L", "CMYK", "1", "F", "I;16"),
    "gif": ("P", "L"),
    "bmp": ("RGB", "P", "1"),
    "avif": ("RGB", "RGBA"),
    "dds": ("RGB", "RGBA"),
    "tga": ("RGB",),
    "pcx": ("RGB",),
    "sgi": ("RGB",),
    "jpeg2000": ("RGB", "L"),
    "heif": ("RGB",),
}
_OPTIONS = {
    "jpeg": ({}, {"progressive": True}, {"quality": 20}),
    "png": ({}, {"optimize": True}),
    "webp": ({}, {"lossless": True}),
    "tiff": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"},
             {"compression": "packbits"}),
}  # fmt: skip


def pictures(kind):
    """Files of a format in each of its modes, upright and turned."""
    if kind == "heif":
        with contextlib.suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
    picture, made = Image.fromarray(SMALL), []
    for mode in _MODES.get(kind, ()):
        values = np.full((48, 60), 9000, np.uint16) if mode == "I;16" else None
        image = picture.convert(mode) if values is None else Image.fromarray(values)
        for options in _OPTIONS.get(kind, ({},)):
            for orientation in (None, 6):
                turned = Image.Exif()
                turned[274] = orientation or 1
                exif = {} if orientation is None else {"exif": turned}
                data = io.BytesIO()
                with contextlib.suppress(OSError, KeyError, ValueError, RuntimeError):
                    image.save(data, kind.upper(), **options, **exif)
                    made.append(data.getvalue())
    suffixes = {"pnm": (".ppm", ".pgm", ".pbm", ".pfm"), "hdr": (".hdr",), "jpeg2000": (".jp2",),
                "avif": (".avif",)}  # fmt: skip
    for suffix in suffixes.get(kind, ()):
        image = SMALL.astype(np.float32) if suffix in (".pfm", ".hdr") else SMALL
        image = image[..., 0] if suffix in (".pgm", ".pbm") else image
        with contextlib.suppress(cv2.error):
            done, data = cv2.imencode(suffix, image)
            made += [data.tobytes()] if done else []
    return list(dict.fromkeys(made))


def picture(path, _):
    assert read_image(path).shape[:2] == shown_size(path)


def video(kind, code):
    def write(path):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (64, 48))
        for level in range(0, 200, 40):
            writer.write(cv2.resize(SMALL, (64, 48)) // 2 + level // 4)
        writer.release()

    return as_file(write, kind)


def film(path, _):
    for one in open_pictures(path):
        # A frame that is lost is told, and the others go on.
        with contextlib.suppress(DataError):
            assert one.read().shape[2] == 3


# Annotations


def coco():
    people = [
        {"id": 5 + n, "image_id": n, "category_id": 1, "bbox": [5, 5, 30, 40], "area": 400.0,
         "iscrowd": 0, "keypoints": [10, 10, 2, 20, 20, 1, 30, 40, 2]} for n in (1, 2)
    ]  # fmt: skip
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 80, "height": 60} for n in (1, 2)]
    categories = [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2]]}]
    return {"images": images, "annotations": people, "categories": categories}


def mpii_mat():
    joints = [{"id": n, "x": 10.0 + n, "y": 20.0 + n, "is_visible": 1} for n in range(16)]
    person = {"annopoints": {"point": joints}, "objpos": {"x": 30.0, "y": 30.0}, "scale": 1.5,
              "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}  # fmt: skip
    images = [{"image": {"name": f"{n}.jpg"}, "annorect": person} for n in (1, 2)]
    return matlab({"RELEASE": {"annolist": images, "img_train": [1, 1]}})


def mpii_h5():
    return hdf5(part=np.full((2, 16, 2), 9.0), visible=np.ones((2, 16)), scale=np.ones(2),
                center=np.full((2, 2), 30.0), imgname=["1.jpg", "2.jpg"],
                person=np.arange(2))  # fmt: skip


def flic_mat():
    person = {"coords": RNG.uniform(1, 90, (2, 29)), "torsobox": [9.0, 9.0, 60.0, 80.0],
              "imgdims": [48, 60, 3], "filepath": "1.jpg", "istrain": 1, "istest": 0}  # fmt: skip
    return matlab({"examples": [person, person | {"filepath": "2.jpg"}]})


def flic_h5():
    return hdf5(part=RNG.uniform(1, 90, (2, 11, 2)), visible=np.ones((2, 11)), scale=np.ones(2),
                center=np.full((2, 2), 30.0), normalize=np.ones(2),
                imgname=["1.jpg", "2.jpg"])  # fmt: skip


def lsp(path, folder):
    os.replace(path, folder / "joints.mat")
    return load_records(f"lsp:{folder}", need_pictures=False)


def data_set(kind):
    return lambda path, _: load_records(f"{kind}:{path}", need_pictures=False)


YOLO = {
    "path": ".",
    "train": "images",
    "kpt_shape": [3, 3],
    "names": {"0": "tiger"},
    "kpt_names": {"0": NAMES},
    "flip_idx": [0, 2, 1],
    "skeleton": [[0, 1]],
}
LINES = "0 0.5 0.5 0.4 0.6 0.3 0.3 2 0.4 0.5 1 0.6 0.7 2\n0 .4 .4 .2 .2 .3 .3 2 0 0 0 .4 .4 2\n"


def yolo(mutated):
    """A data set with one of its files mutated: `data.yaml`, a file of labels, a list."""

    def read(path, folder):
        for name in ("images", "labels"):
            (folder / name).mkdir(exist_ok=True)
        if not (folder / "images" / "1.png").exists():
            cv2.imwrite(str(folder / "images" / "1.png"), SMALL)
        files = {"data.yaml": format_yaml(YOLO), "labels/1.txt": LINES}
        for name, text in files.items():
            (folder / name).write_text(text)
        os.replace(path, folder / mutated)
        return load_records(f"yolo:{folder / 'data.yaml'}")

    return read


CSV = """scorer,Anna,Anna,Anna,Anna
bodyparts,snout,snout,tail,tail
coords,x,y,x,y
labeled-data/a/img01.png,12.5,30,20,35
labeled-data/a/img02.png,13,31.25,40,50
"""
CSV_OF_MANY = """scorer,,,A,A,A,A,A,A,A,A
individuals,,,one,one,one,one,two,two,two,two
bodyparts,,,snout,snout,tail,tail,snout,snout,tail,tail
coords,,,x,y,x,y,x,y,x,y
labeled-data,a,img01.png,12.5,30,20,35,,,,
labeled-data,a,img02.png,13,31.25,40,50,1,2,3,4
"""


def deeplabcut_h5():
    """Both of pandas' forms of the same table."""
    columns = [("Anna", part, axis) for part in ("snout", "tail") for axis in "xy"]
    values = np.arange(8.0).reshape(2, 4) + 9

    def fixed(path):
        with h5py.File(path, "w") as file:
            group = file.create_group("df_with_missing")
            group.attrs["nblocks"], group["block0_values"] = 1, values
            group["axis1"] = np.array([b"a/1.png", b"a/2.png"])
            for name in ("axis0", "block0_items"):
                group.attrs[f"{name}_nlevels"] = 3
                for level, texts in enumerate(zip(*columns, strict=True)):
                    known = sorted(set(texts))
                    group[f"{name}_level{level}"] = np.array([one.encode() for one in known])
                    labels = [known.index(one) for one in texts]
                    group[f"{name}_label{level}"] = np.array(labels, np.int8)

    def table(protocol):
        def write(path):
            rows = np.zeros(2, [("index", "S9"), ("values_block_0", "<f8", (4,))])
            rows["index"], rows["values_block_0"] = [b"a/1.png", b"a/2.png"], values
            with h5py.File(path, "w") as file:
                group = file.create_group("df_with_missing")
                group["table"] = rows
                axes = pickle.dumps([(1, columns)], protocol=protocol)
                group.attrs["non_index_axes"] = np.void(axes) if protocol else np.bytes_(axes)

        return write

    return [as_file(write) for write in (fixed, table(0), table(4))]


def sleap_slp():
    import sleap_io

    skeleton = sleap_io.Skeleton(list(NAMES), edges=[("nose", "left_hip")], name="mouse")

    def write(path):
        film = sleap_io.Video.from_filename([f"{n}.png" for n in range(3)])
        animal = sleap_io.Instance.from_numpy(
            np.array([[10.0, 20], [30, 40], [np.nan, np.nan]]), skeleton=skeleton
        )
        frames = [sleap_io.LabeledFrame(film, n, [animal]) for n in (0, 2)]
        sleap_io.Labels(frames, videos=[film], skeletons=[skeleton]).save(str(path))

    return as_file(write, ".slp")


# Folders of TFRecords: a file of what is there, an index, and shards


@functools.cache
def stored():
    data = cv2.imencode(".jpg", SMALL)[1].tobytes()
    shard = bytes(12) + data + bytes(4)
    index = {
        "boxes": np.full((2, 3), 30.0), "joints": np.full((2, 3, 2), 9.0),
        "visibility": np.full((2, 3), 2), "reference": np.ones(2), "weights": np.ones((2, 3)),
        "ids": np.array(["a", "b"]), "shard": np.zeros(2, int), "offset": np.full(2, 12),
        "length": np.full(2, len(data)),
    }  # fmt: skip
    content = {"skeleton": {"name": "a", "joints": NAMES, "pairs": [], "limbs": []}, "people": 2,
               "shards": ["p.tfrecord"], "size": 64, "margin": 2.0, "quality": 95}  # fmt: skip
    return {"dataset.json": json.dumps(content), "index.npz": archive(**index), "p.tfrecord": shard}


def tfrecords(mutated):
    def read(path, folder):
        for name, content in stored().items():
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
        os.replace(path, folder / mutated)
        records = load_records(f"tfrecords:{folder}")
        for name in records.images[:2]:
            open_image(name)

    return read


# Predictions and what is compared with them


@functools.lru_cache(maxsize=1)
def records(folder):
    (folder / "gt.json").write_text(json.dumps(coco()))
    return load_records(f"coco:{folder / 'gt.json'}", need_pictures=False)


def predictions(path, folder):
    return read_keypoints(path, records(folder))


def results(path, folder):
    records(folder)
    return average_precision(folder / "gt.json", path)


def truth(path, folder):
    """COCO's own evaluation with a mutated file of annotations."""
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return average_precision(path, folder / "results.json")


FACTS = json.dumps({"skeleton": {"name": "a", "joints": NAMES}, "stacks": ["s"], "failures": {},
                    "milliseconds": 1.0, "settings": {}})  # fmt: skip
EVALUATION = {
    "keypoints": np.ones((1, 2, 3, 2)), "scores": np.ones((1, 2, 3)), "facts": FACTS,
    "heatmap_means": np.ones((1, 2, 3)), "images": ["a", "b"], "ids": ["1", "2"],
    "boxes": np.ones((2, 3)), "joints": np.ones((2, 3, 2)), "visibility": np.ones((2, 3)),
    "reference": np.ones(2),
}  # fmt: skip
HRNET = [{"image": "1.jpg", "center": [30, 30], "scale": 1.0, "joints": [[9, 9]] * 16,
          "joints_vis": [1] * 16}]  # fmt: skip
RESULTS = [{"image_id": 1, "category_id": 1, "keypoints": [9.0, 9.0, 0.5] * 3, "score": 0.7}]
PREDICTIONS = {"keypoint_names": NAMES, "people": [{"id": "5", "keypoints": [[1, 2, 0.5]] * 3}] * 2}


def npy():
    made = io.BytesIO()
    np.save(made, np.ones((2, 3, 2)))
    return made.getvalue()


# Networks and recipes

ARCHITECTURE = {"num_stacks": 1, "num_features": 8, "depth": 1, "input_shape": [32, 32, 3],
                "skeleton": {"name": "a", "joints": NAMES}}  # fmt: skip
CONFIG = {
    "architecture": ARCHITECTURE,
    "preprocessing": {"sigma": 1.0},
    "thresholds": {"nose": 0.1},
}


@functools.cache
def network():
    return Graph({**ARCHITECTURE, "num_keypoints": 3})


def weights_h5():
    """Random weights of the small network, as Keras lays them out."""
    graph, keys = network(), file_keys(network())
    shapes = {name: variable.shape for name, variable in named_variables(graph).items()}
    arrays = {keys[name]: RNG.uniform(0.1, 1, shape).astype("f4") for name, shape in shapes.items()}
    return hdf5(**arrays)


def weights(path, _):
    return checked(network(), read_arrays(network(), path), str(path))


def keras_file():
    config = {"class_name": "StackedHourglass", "config": {**ARCHITECTURE, "num_keypoints": 3}}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.9.0"}))
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", weights_h5())
    return made.getvalue()


def torch_files():
    """A checkpoint in both of PyTorch's forms."""
    import torch

    content = {"state_dict": {"module.conv1.weight": torch.ones(2, 3, 1, 1)}, "epoch": 3}
    for zipped in (True, False):
        made = io.BytesIO()
        torch.save(content, made, _use_new_zipfile_serialization=zipped)
        yield made.getvalue()


def safetensors_file():
    header = {"a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(24)


def recipes():
    whole = Recipe().to_dict()
    return [
        whole,
        {"model": {"preset": "hourglass_tiny_synthetic", "pretrained": False},
         "optimizer": {"name": "adam", "options": {"beta_1": 0.9, "clipnorm": 1.0}},
         "data": {"train": ["coco:a.json * 2", "lsp:b#1-9"], "validation": "10%"},
         "augmentation": {"preset": "none"},
         "schedule": {"name": "plateau", "early_stopping": 5},
         "training": {"epochs": 3, "stack_weights": [1.0, 0.5]}},
    ]  # fmt: skip


def entry(suffix, seeds, reader):
    """A reader's suffix, its seeds (values for JSON, text, bytes) and itself."""
    return suffix, list(seeds), reader


# name -> (suffix, seeds, reader of a path in a folder)
READERS = {
    f"pictures {kind}": entry(".bin", pictures(kind), picture) for kind in (*_MODES, "pnm", "hdr")
}
READERS |= {
    "video avi": entry(".avi", [video(".avi", "MJPG")], film),
    "video mp4": entry(".mp4", [video(".mp4", "mp4v")], film),
    "video mkv": entry(".mkv", [video(".mkv", "MJPG")], film),
    "coco": entry(".json", [coco()], data_set("coco")),
    "boxes of people": entry(".json", [coco()],
                             lambda path, _: load_scenes(f"boxes:{path}", need_pictures=False)),
    "mpii json": entry(".json", [HRNET], data_set("mpii")),
    "mpii h5": entry(".h5", [mpii_h5()], data_set("mpii")),
    "mpii mat": entry(".mat", [mpii_mat()], data_set("mpii")),
    "flic mat": entry(".mat", [flic_mat()], data_set("flic")),
    "flic h5": entry(".h5", [flic_h5()], data_set("flic")),
    "lsp": entry(".mat", [matlab({"joints": RNG.uniform(1, 90, (3, 14, 2))})], lsp),
    "yolo data.yaml": entry(".yaml", [YOLO], yolo("data.yaml")),
    "yolo labels": entry(".txt", [LINES], yolo("labels/1.txt")),
    "deeplabcut csv": entry(".csv", [CSV, CSV_OF_MANY], data_set("dlc")),
    "deeplabcut h5": entry(".h5", deeplabcut_h5(), data_set("dlc")),
    "tfrecords dataset.json": entry(".json", [json.loads(stored()["dataset.json"])],
                                    tfrecords("dataset.json")),
    "tfrecords index.npz": entry(".npz", [stored()["index.npz"]], tfrecords("index.npz")),
    "tfrecords shard": entry(".tfrecord", [stored()["p.tfrecord"]], tfrecords("p.tfrecord")),
    "boxes": entry(".json", [{"a.jpg": [[1, 2, 30, 40]]}, coco(),
                             [{"image_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}]],
                   lambda path, _: read_boxes(path)),
    "predictions json": entry(".json", [PREDICTIONS], predictions),
    "predictions npy": entry(".npy", [npy()], predictions),
    "predictions h5": entry(".h5", [hdf5(preds=np.ones((2, 3, 2)))], predictions),
    "predictions mat": entry(".mat", [matlab({"preds": np.ones((2, 3, 2))})], predictions),
    "results": entry(".json", [RESULTS], results),
    "results, annotations": entry(".json", [coco()], truth),
    "evaluation": entry(".npz", [archive(**EVALUATION)], lambda path, _: load_predictions(path)),
    "arrays npz": entry(".npz", [archive(a=np.ones(3), b=["x"])], lambda path, _: read_npz(path)),
    "arrays h5": entry(".h5", [mpii_h5()], lambda path, _: read_hdf5(path)),
    "preset": entry(".json", [CONFIG], lambda path, _: read_config(path)),
    "weights.h5": entry(".weights.h5", [weights_h5()], weights),
    ".keras": entry(".keras", [keras_file()], lambda path, _: load_snapshot(path)),
    "checkpoint npz": entry(".npz", [archive(**{"conv1.weight": np.ones((2, 3, 1, 1))})],
                            lambda path, _: read_checkpoint(path)),
    "recipe": entry(".yaml", recipes(), lambda path, _: load_recipe(path)),
    "yaml": entry(".yaml", [format_yaml(YOLO), format_yaml(CONFIG)],
                  lambda path, _: read_yaml(path)),
}  # fmt: skip
if usable("sleap_io"):
    READERS["sleap"] = entry(".slp", [sleap_slp()], data_set("slp"))
if usable("torch"):
    READERS["checkpoint pth"] = entry(".pth", torch_files(), lambda path, _: read_checkpoint(path))
if usable("safetensors"):
    READERS["checkpoint safetensors"] = entry(
        ".safetensors", [safetensors_file()], lambda path, _: read_checkpoint(path)
    )
# A format that neither Pillow nor OpenCV writes here has no seeds.
READERS = {name: row for name, row in READERS.items() if row[1]}
