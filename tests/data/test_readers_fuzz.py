"""Whatever a file contains, readers give records or their own error."""

import json
import pathlib
import tempfile

import h5py
import hypothesis
import numpy as np
import pytest
import scipy.io
from hypothesis import strategies as st

from keras_hourglass.data.load import load_records
from keras_hourglass.errors import UserError

settings = hypothesis.settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip

numbers = st.one_of(
    st.integers(-(10**12), 10**12), st.floats(), st.sampled_from([0, 1, 2, -1, 5e300])
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=6))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def often(good, bad=anything):
    """Mostly of the right kind, so that the later checks are reached too."""
    return st.one_of(good, good, good, bad)


def read(kind, name, write):
    """Write a file and read it; only the package's own errors may come out."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        write(path)
        try:
            records = load_records(f"{kind}:{path}", need_pictures=False)
        except UserError as error:
            assert str(error)
            return
        assert len(records) > 0
        assert np.isfinite(records.boxes).all() and (records.boxes[:, 2] > 0).all()
        assert np.isfinite(records.joints[records.visibility > 0]).all()


people = st.fixed_dictionaries(
    {},
    optional={
        "id": often(st.integers(1, 9)),
        "image_id": often(st.integers(1, 2)),
        "category_id": often(st.just(1)),
        "bbox": often(st.lists(numbers, min_size=4, max_size=4)),
        "keypoints": often(st.lists(numbers, min_size=6, max_size=6)),
        "area": often(numbers),
        "iscrowd": often(st.just(0)),
    },
)
coco_files = st.fixed_dictionaries(
    {},
    optional={
        "images": often(st.lists(often(st.fixed_dictionaries(
            {"id": often(st.integers(1, 2)), "file_name": often(st.just("a.jpg"))},
            optional={"width": often(numbers), "height": often(numbers)})), max_size=3)),
        "annotations": often(st.lists(often(people), max_size=4)),
        "categories": often(st.lists(often(st.fixed_dictionaries(
            {"id": often(st.just(1)), "keypoints": often(st.just(["left_a", "right_a"]))},
            optional={"skeleton": anything, "name": anything})), max_size=2)),
    },
)  # fmt: skip


@settings
@hypothesis.given(often(coco_files))
def test_coco_json(content):
    read("coco", "x.json", lambda path: path.write_text(json.dumps(content)))


joint_lists = st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=16, max_size=16)


@pytest.mark.slow
@settings
@hypothesis.given(
    often(st.lists(often(st.fixed_dictionaries({
        "image": often(st.just("a.jpg")),
        "center": often(st.lists(numbers, min_size=2, max_size=2)),
        "scale": often(numbers), "joints": often(joint_lists),
        "joints_vis": often(st.lists(numbers, min_size=16, max_size=16))})), max_size=3))
)  # fmt: skip
def test_mpii_json(content):
    read("mpii", "annot.json", lambda path: path.write_text(json.dumps(content)))


@settings
@hypothesis.given(st.sampled_from(["coco:x.json", "mpii:x.json", "mpii:x.h5", "flic:x.h5",
                                   "mpii:x.mat", "flic:x.mat", "lsp:joints.mat"]),
                  st.binary(max_size=300))  # fmt: skip
def test_any_bytes(target, data):
    kind, name = target.split(":")
    read(kind, name, lambda path: path.write_bytes(data))


@pytest.mark.slow
@settings
@hypothesis.given(
    st.dictionaries(
        st.sampled_from(["part", "visible", "center", "scale", "normalize", "imgname", "person"]),
        st.tuples(st.lists(st.integers(0, 3), max_size=3),
                  st.sampled_from(["f8", "i8", "S4", "u1"]), st.integers(0, 9)),
    ),
    st.sampled_from(["mpii", "flic"]),
    st.booleans(),
)  # fmt: skip
def test_hdf5(columns, kind, well_shaped):
    joints = 16 if kind == "mpii" else 11
    shapes = {"part": (2, joints, 2), "visible": (2, joints), "center": (2, 2)}

    def write(path):
        with h5py.File(path, "w") as file:
            for name, (shape, dtype, seed) in columns.items():
                if well_shaped:
                    shape = shapes.get(name, (2,))
                values = np.random.default_rng(seed).integers(0, 90, shape)
                if name == "imgname" and well_shaped:
                    dtype = "S4"
                file[name] = values.astype(dtype)

    read(kind, "valid.h5", write)


matlab_values = st.recursive(
    st.one_of(st.floats(), st.text(max_size=4), st.just(np.zeros((0, 0))),
              st.just([1.0, 2.0, 3.0, 4.0])),
    lambda inner: st.dictionaries(
        st.sampled_from(["annolist", "annorect", "annopoints", "point", "x", "y", "id", "image",
                         "name", "scale", "objpos", "x1", "img_train", "coords", "torsobox",
                         "filepath", "imgdims"]), inner, min_size=1, max_size=5),
    max_leaves=14,
)  # fmt: skip


@settings
@hypothesis.given(matlab_values, st.sampled_from(["RELEASE", "examples", "joints"]))
def test_matlab_structs(value, name):
    kind = {"RELEASE": "mpii", "examples": "flic", "joints": "lsp"}[name]
    file_name = "joints.mat" if kind == "lsp" else "x.mat"
    read(kind, file_name, lambda path: scipy.io.savemat(path, {name: value}))


@settings
@hypothesis.given(st.text(max_size=30))
def test_any_spec(text):
    try:
        load_records(text)
    except UserError as error:
        assert str(error)
