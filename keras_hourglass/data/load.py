"""Data sets by their short name: `lsp:DIR#1-800`, `mpii:valid.h5`, `synthetic:1000@7`, ….

A spec is `KIND:WHERE`, optionally followed by

* `@train` or `@valid` for MPII and FLIC, `@person` for FLIC's own left and right,
* `@SPLIT` of a folder of COCO's form that holds several, `@CATEGORY`, by name or id, of its file;
  the same for YOLO's `data.yaml`; `@VIDEO` of a project of DeepLabCut,
* `#FIRST-LAST`, which keeps pictures FIRST to LAST (counted from 1, both ends included),
* `*SHARE`, how often everybody is shown in an epoch of a mixture.

Several specs in a list are a mixture. `boxes:FILE.json` are whole photographs with everybody's
box, to train a network that finds people.
"""

import glob
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hourglass.data.coco import read_coco, splits_of
from keras_hourglass.data.deeplabcut import read_deeplabcut
from keras_hourglass.data.figures import PREFIX, render_named, synthetic_records
from keras_hourglass.data.flic import read_flic
from keras_hourglass.data.lsp import read_lsp
from keras_hourglass.data.mixture import match_joints, mix_records
from keras_hourglass.data.mpii import read_mpii
from keras_hourglass.data.picture_sizes import follow_pictures
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.scenes import SceneRecords, mix_scenes, read_scenes
from keras_hourglass.data.sleap import PREFIX as IN_VIDEO
from keras_hourglass.data.sleap import frame_is_there, read_sleap, sleap_frame
from keras_hourglass.data.tfrecords import PREFIX as STORED
from keras_hourglass.data.tfrecords import read_tfrecords, stored_image
from keras_hourglass.data.yolo import read_yolo
from keras_hourglass.errors import DataError, UserError, checks_arguments, did_you_mean, listed
from keras_hourglass.io.images import read_reduced
from keras_hourglass.skeletons import LSP, Skeleton, get_skeleton
from keras_hourglass.typing import Path


def _read_flic(where, options):
    split = next((option for option in options if option in ("train", "valid")), None)
    return read_flic(where, split, "person" if "person" in options else "observer")


def _read_coco(where, options, **found):
    split = options.pop(0) if options and os.path.isdir(where) else None
    if split is not None and not options and split not in splits_of(where):
        split, options = None, [split]  # of a folder with one file, its category
    return read_coco(where, category=options[0] if options else None, split=split, **found)


def _read_yolo(where, options, **found):
    split, *category = options or [None]
    return read_yolo(where, split=split, category=category[0] if category else None, **found)


def _read_deeplabcut(where, options, **found):
    return read_deeplabcut(where, video=options[0] if options else None, **found)


def _read_sleap(where, options, **found):
    return read_sleap(where, **found)


_SCENES = "boxes"  # the kind that has no joints
# kind -> (reader of a path and a list of @ options, options it knows)
_READERS = {
    "lsp": (lambda where, _: read_lsp(where), ()),
    "lspet": (lambda where, _: read_lsp(where, extended=True), ()),
    "mpii": (lambda where, options: read_mpii(where, *options[:1]), ("train", "valid")),
    "flic": (_read_flic, ("train", "valid", "person", "observer")),
    "tfrecords": (lambda where, _: read_tfrecords(where), ()),
    "synthetic": (lambda where, _: read_coco(where, skeleton=LSP), ()),
    _SCENES: (lambda where, _: read_scenes(where), ()),
}
# The same for data of one's own: options are any text, and the reader takes `images` and `pairs`.
_OWN_READERS: dict = {
    "coco": _read_coco,
    "yolo": _read_yolo,
    "dlc": _read_deeplabcut,
    "slp": _read_sleap,
}
_KINDS = (*_READERS, *_OWN_READERS)
# Sets whose annotation files count pixels from 1, as MATLAB does.
_FROM_ONE = ("lsp", "lspet", "mpii", "flic")
_SHARE = re.compile(r"(?P<rest>.*?)\s*[*×]\s*(?P<share>\d+(\.\d+)?)$", re.DOTALL)
_RANGE = re.compile(r"(?P<rest>.*)#(?P<first>\d{1,9})-(?P<last>\d{1,9})$", re.DOTALL)
_OPTION = re.compile(r"(?P<rest>.*)@(?P<option>[a-z]+)$", re.DOTALL)
_GENERATED = re.compile(r"(?P<num>\d{1,9})@(?P<seed>\d{1,18})(x(?P<size>\d{1,5}))?$")


def first_pixel(spec: str) -> int:
    """Coordinate of the first pixel's centre in the files of a data set, and in others made for it.

    Args:
        spec: as in `load_records`; one set.

    Returns:
        1 as in MATLAB, or 0. `PoseRecords` count from 0 always.

    Example:

    >>> first_pixel("lsp:lsp_dataset#1-800"), first_pixel("coco:person_keypoints.json")
    (1, 0)
    """
    return int(spec.partition(":")[0] in _FROM_ONE)


@checks_arguments
def load_records(
    spec: Path | Sequence[Path],
    root: Path | None = None,
    need_pictures: bool = True,
    skeleton: Skeleton | str | None = None,
    images: Path | None = None,
    pairs: Any = None,
) -> PoseRecords:
    """Read annotated people.

    Args:
        spec: `lsp:`, `lspet:`, `mpii:`, `flic:`, `coco:`, `yolo:`, `dlc:`, `slp:`, `synthetic:` or
            `tfrecords:` and a path, see the module's head; `synthetic:NUM@SEED` (or
            `NUM@SEEDxSIZE`) for figures drawn when asked for; or a list of specs.
        root: folder that relative paths in `spec` start from; the working folder by default.
        need_pictures: leave out people whose picture is missing (counted in `notes`); without,
            annotations alone will do.
        skeleton: the joints to have, matched by name; by default the data set's own.
        images: folder of the pictures of data of one's own; found near the annotations by default.
        pairs: joints of data of one's own that mirror each other, where their names do not tell,
            as `skeletons.read_pairs` takes them.

    Returns:
        `PoseRecords` in the order of the files. With pictures, joints lie where the pictures show
        them, also if these were turned or resized since (`picture_sizes.follow_pictures`).

    Raises:
        UserError: if the spec cannot be understood.
        DataError: if the data cannot be read, or nobody is left.

    Example:

    >>> records = load_records("synthetic:20@7#11-20")
    >>> len(records), records.skeleton.name
    (10, 'lsp')
    """
    specs = [os.fspath(one) for one in ([spec] if isinstance(spec, (str, os.PathLike)) else spec)]
    own = {"images": images, "pairs": pairs}
    own = {name: value for name, value in own.items() if value is not None}
    if own and not is_own(specs):
        raise UserError(
            f"{' and '.join(own)} can be said of {', '.join(_OWN_READERS)}; other data sets bring "
            f"theirs. Received: {', '.join(specs)}. Leave it out."
        )
    if is_scenes(specs):
        raise UserError(
            "People with joints are needed. Received: "
            f"{', '.join(specs)}, which are photographs with boxes, for training a network that "
            "finds people. Name other data."
        )
    parts = [_load_one(one, root, need_pictures, own) for one in specs]
    if len(parts) == 1 and parts[0][1] == 1.0:
        records = parts[0][0]
        return records if skeleton is None else match_joints(records, get_skeleton(skeleton))
    return mix_records(parts, skeleton)


def load_scenes(
    spec: Path | Sequence[Path], root: Path | None = None, need_pictures: bool = True
) -> SceneRecords:
    """Read photographs with everybody's box.

    Args:
        spec: `boxes:` and the path of a COCO annotation file, perhaps with a range and a share, see
            the module's head; or a list of such specs.
        root: folder that relative paths in `spec` start from; the working folder by default.
        need_pictures: leave out photographs that are missing (counted in `notes`).

    Returns:
        `SceneRecords` in the order of the files.

    Raises:
        UserError: if the spec cannot be understood, or names other data.
        DataError: if the data cannot be read, or no photograph is left.

    Example:

    >>> load_scenes("boxes:coco/instances_val2017.json#1-100")  # doctest: +SKIP
    """
    specs = [os.fspath(one) for one in ([spec] if isinstance(spec, (str, os.PathLike)) else spec)]
    if not specs or not all(map(is_scenes, specs)):
        raise UserError(
            f"Photographs with boxes are named {_SCENES}:PATH, and mix with no other data. "
            f"Received: {', '.join(specs) or 'none'}. Use one kind of data."
        )
    parts = [_load_one(one, root, need_pictures, {}) for one in specs]
    return parts[0][0] if len(parts) == 1 and parts[0][1] == 1.0 else mix_scenes(parts)


def is_own(spec: Any) -> bool:
    """Whether a spec, or any of a list, names data of one's own, whose pictures and mirror images
    can be told.

    Args:
        spec: as for `load_records`.

    Returns:
        A bool.

    Example:

    >>> is_own("yolo:data.yaml"), is_own(["lsp:lsp_dataset", "mpii:mpii"])
    (True, False)
    """
    specs = [spec] if isinstance(spec, (str, os.PathLike)) else list(spec or ())
    return any(str(one).partition(":")[0] in _OWN_READERS for one in specs)


def is_scenes(spec: Any) -> bool:
    """Whether a spec, or any of a list, names photographs with boxes instead of people with joints.

    Args:
        spec: as for `load_records`.

    Returns:
        A bool.

    Example:

    >>> is_scenes("boxes:train.json"), is_scenes(["lsp:lsp_dataset", "coco:val.json"])
    (True, False)
    """
    specs = [spec] if isinstance(spec, (str, os.PathLike)) else list(spec or ())
    return any(str(one).partition(":")[0] == _SCENES for one in specs)


def _load_one(spec, root, need_pictures, own):
    """Records of one spec and their share in a mixture."""
    kind, colon, where = spec.partition(":")
    if not colon or kind not in _KINDS or not where:
        guessed = spec_of_path(spec, root)
        example = guessed if guessed != spec else "lsp:lsp_dataset#1-800"
        raise UserError(
            f"A data set is named KIND:PATH[#FIRST-LAST] with KIND one of {', '.join(_KINDS)}. "
            f"Received: {spec!r}. Write for example {example}."
            f"{did_you_mean(kind, _KINDS) if colon else ''}"
        )
    share, span = 1.0, None
    if match := _SHARE.match(where):
        where, share = match["rest"], float(match["share"])
    if match := _RANGE.match(where):
        where, span = match["rest"], (int(match["first"]), int(match["last"]))
    generated = _GENERATED.match(where) if kind == "synthetic" else None
    if generated:
        numbers = {name: int(text) for name, text in generated.groupdict().items() if text}
        records = synthetic_records(**numbers)
    else:
        try:
            records = _read(kind, where, root, own)
        except PermissionError as error:
            raise DataError(f"{error.filename} may not be read. Change its permissions.") from error
    if span is not None:
        records = _select_range(records, *span, spec)
    if need_pictures and not generated and kind != "tfrecords":
        records = _with_pictures(records, spec)
        if "announced" in records.extra:
            records = follow_pictures(records, spec)
    return records, share


def _read(kind, where, root, own):
    """The records of a path with its options."""
    options: list = []
    if kind in _OWN_READERS:
        where = where if root is None else os.path.join(root, where)
        there = where
        while "@" in there and not os.path.exists(there):
            there, _, option = there.rpartition("@")
            options.insert(0, option)
        if not os.path.exists(there):
            there, options = where, []
        return _OWN_READERS[kind](there, options, **own)
    reader, known = _READERS[kind]
    while (match := _OPTION.match(where)) and match["option"] in known:
        where = match["rest"]
        options.insert(0, match["option"])
    return reader(where if root is None else os.path.join(root, where), options)


def spec_of_path(spec: str, root: Path | None = None) -> str:
    """What `guess_spec` says of a path alone that is there; anything else as it is.

    Args:
        spec: a spec, or the path of data of one's own.
        root: folder that a relative path starts from.

    Returns:
        A spec.

    Example:

    >>> spec_of_path("lsp:lsp_dataset")
    'lsp:lsp_dataset'
    """
    there = bool(spec) and os.path.exists(spec if root is None else os.path.join(root, spec))
    return guess_spec(spec, root) if there else spec


def guess_spec(path: Path, root: Path | None = None) -> str:
    """The spec of a file or folder whose kind is not said, by what lies there.

    Args:
        path: a path, or a spec, which is returned as it is.
        root: folder that a relative path starts from.

    Returns:
        `KIND:PATH`; COCO's where nothing tells.

    Example:

    >>> guess_spec("flies.slp"), guess_spec("lsp:lsp_dataset")
    ('slp:flies.slp', 'lsp:lsp_dataset')
    """
    path = os.fspath(path)
    there = path if root is None else os.path.join(root, path)
    if path.partition(":")[0] in _KINDS and not os.path.exists(there):
        return path
    file = there
    while "@" in file and not os.path.exists(file):
        file = file.rpartition("@")[0]
    name, inside = os.path.basename(file).lower(), os.path.isdir(file)
    if name.endswith(".slp"):
        return f"slp:{path}"
    if name.startswith("collecteddata") or (
        inside
        and (glob.glob(os.path.join(glob.escape(file), "CollectedData_*"))
             or os.path.isdir(os.path.join(file, "labeled-data")))
    ):  # fmt: skip
        return f"dlc:{path}"
    if name.endswith((".yaml", ".yml")):
        beside = os.path.join(os.path.dirname(file), "labeled-data")
        return f"{'dlc' if os.path.isdir(beside) else 'yolo'}:{path}"
    if inside:
        options = there[len(file) :]
        return _guess_folder(path.removesuffix(options), file, options)
    return f"coco:{path}"


def _guess_folder(path, folder, options):
    """The spec of a folder by what lies in it; `options` are the split and category."""
    names = sorted(os.listdir(folder))
    if "data.yaml" in names:
        return f"yolo:{path}{options}"
    found = [("slp", name) for name in names if name.lower().endswith(".slp")]
    found += [("yolo", name) for name in names if _is_yolo(os.path.join(folder, name))]
    if len(found) == 1:
        kind, name = found[0]
        return f"{kind}:{os.path.join(path, name)}{options}"
    labels = glob.glob(os.path.join(glob.escape(folder), "labels", "**", "*.txt"), recursive=True)
    is_yolo = labels and ("classes.txt" in names or not splits_of(folder))
    return f"{'yolo' if is_yolo else 'coco'}:{path}{options}"


def _is_yolo(file):
    """Whether a file is what YOLO calls data.yaml, under another name."""
    if not file.lower().endswith((".yaml", ".yml")) or not os.path.isfile(file):
        return False
    with open(file, "rb") as content:
        return b"kpt_shape" in content.read(100_000)


def _select_range(records, first, last, spec):
    number = records.extra["image_number"]
    kept = (number >= first) & (number <= last)
    # A range that reaches past the end would quietly measure something else.
    if not kept.any() or last > number.max():
        raise DataError(
            f"The range of {spec!r} must lie within the pictures, which are numbered "
            f"{number.min()} to {number.max()}. Received: {first}-{last}."
        )
    return records.select(kept)


def _with_pictures(records, spec):
    """People whose picture exists; the others are counted."""
    there = {path: _is_there(path) for path in set(records.images)}
    kept = np.array([there[path] for path in records.images], dtype=bool)
    if kept.all():
        return records
    missing = list(dict.fromkeys(records.images[~kept]))
    if not kept.any():
        raise DataError(
            f"None of the pictures of {spec} is there; the first is {listed(missing[:1])}. "
            "Put them beside the annotation file, or name their folder by --images."
        )
    more = f", then {listed(missing[1:], 4)}" if len(missing) > 1 else ""
    note = (
        f"{spec}: {(~kept).sum()} people left out (picture missing), {len(missing)} of "
        f"{len(there)} pictures, the first is {listed(missing[:1])}{more}"
    )
    return records.select(kept).with_columns(notes=(*records.notes, note))


def _is_there(path):
    return frame_is_there(path) if path.startswith(IN_VIDEO) else os.path.isfile(path)


def open_image(path: str) -> np.ndarray:
    """The picture of a record: a file, or a figure that is drawn when asked for.

    Args:
        path: an entry of `PoseRecords.images`.

    Returns:
        `(height, width, 3)` uint8 RGB.

    Raises:
        DataError: if it cannot be read.

    Example:

    >>> open_image("synthetic:64x/7/3").shape
    (64, 64, 3)
    """
    return open_reduced(path, 1)[0]


def open_reduced(path: str, reduction: int) -> tuple[np.ndarray, int]:
    """The picture of a record, a JPEG at a fraction of its size if that is asked for.

    Args:
        path: an entry of `PoseRecords.images`.
        reduction: wanted divisor of width and height: 1, 2, 4 or 8.

    Returns:
        `(height, width, 3)` uint8 RGB and the divisor used, see `images.read_reduced`.

    Raises:
        DataError: if it cannot be read.

    Example:

    >>> image, divisor = open_reduced("synthetic:64x/7/3", 2)
    >>> image.shape, divisor
    ((64, 64, 3), 1)
    """
    if path.startswith(PREFIX):
        return render_named(path), 1
    if path.startswith(IN_VIDEO):
        return sleap_frame(path), 1
    return read_reduced(stored_image(path) if path.startswith(STORED) else path, reduction)
