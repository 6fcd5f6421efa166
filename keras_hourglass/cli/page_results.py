"""What the demo page shows: predictions of photos and videos as files, pictures and sentences.

Nothing here knows of Gradio.
"""

import collections
import contextlib
import dataclasses
import io
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import threading
import time

from keras_hourglass.choices import DEFAULT_MODEL
from keras_hourglass.errors import UserError
from keras_hourglass.io.files import atomic_write

# Frames of a video that are followed; whoever has more uses the command line.
MAX_FRAMES = 900
# Predictors that are kept: each holds a network.
_KEPT = 3
# Results whose files stay for who keeps them; a page may run for weeks.
_RESULTS = 50
# Longer side in source pixels, as a share of what the network sees, from which a person is small.
_SMALL = 0.5
# Share of present joints below which a skeleton shows little of somebody.
_FEW = 0.6
# What the examples show: numbers of generated figures side by side.
_FIGURES, _FIGURE_SIZE = {"one": (27,), "three": (4, 25, 12), "doubtful": (19,)}, 360
_SEED = 7


@dataclasses.dataclass
class Answer:
    """What the page shows of a photo.

    Attributes:
        painted: path of the photo with everybody drawn, and numbered where there are several.
        tiles: the heatmaps of one person, `(RGB array, label)` each.
        facts: a line: time, people, size.
        hint: what to think of the fit; empty where it is good.
        document: the JSON document as text.
        files: paths of what can be kept: JSON, picture.
        people: how many there are.
        person: whose heatmaps they are, from 1.
    """

    painted: str
    tiles: list
    facts: str
    hint: str
    document: str
    files: list
    people: int
    person: int


@dataclasses.dataclass
class Followed:
    """What the page shows of a video.

    Attributes:
        painted: path of the video with everybody drawn.
        facts: a line: frames, people, time.
        hint: what to know about it; may be empty.
        files: paths of what can be kept: video, JSON, table.
    """

    painted: str
    facts: str
    hint: str
    files: list


class Demo:
    """What the page calls: models are loaded when first chosen.

    Args:
        models: names or paths of models; by default all with weights. The best small one comes
            first, unless models are named.
        folder: where results are written; the page erases it when it ends.
    """

    def __init__(self, models=None, folder=None):
        self.models = [str(m) for m in (models if models is not None else _shipped())]
        if not self.models:
            raise UserError("The page needs a model. Received: none. Name one with --model.")
        self._folder = folder
        self._predictors: collections.OrderedDict = collections.OrderedDict()
        self._written: collections.deque = collections.deque()
        self._lock = threading.Lock()

    @property
    def folder(self):
        """Where results are written."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="keras_hourglass_page_")
        return self._folder

    def stacks(self, name):
        """The stacks to choose from, the last first."""
        self._check(name)
        from keras_hourglass.zoo.store import resolve

        return list(range(resolve(name, load_weights=False)[0]["num_stacks"], 0, -1))

    def about(self, name):
        """What a model was trained on and how well it does, in a line; empty if nobody says."""
        from keras_hourglass.zoo.store import read_manifest

        self._check(name)
        record = read_manifest().get(name)
        if record is None:
            return ""
        metric = record["metric"]
        return (
            f"Trained on {record['training_data'].split(';')[0]}. `{metric['name']}` "
            f"{metric['value']:g} % on {metric['data']}."
        )

    def _check(self, name):
        if name not in self.models:  # a request may hold anything
            raise UserError(f"This page offers {', '.join(self.models)}. Received: {name!r}.")

    def predictor(self, name, stack=None, flip=True):
        """A predictor that has run once, so that the next run is timed fairly."""
        self._check(name)
        key = name, stack, bool(flip)
        with self._lock:
            if key not in self._predictors:
                import numpy as np

                from keras_hourglass.prediction.predictor import Predictor

                options = {"engine": "fastest", "heatmaps": True}
                predictor = Predictor(name, stack=stack, flip=key[2], **options)
                predictor.predict_crops(np.zeros((1, *predictor.input_size, 3), np.uint8))
                if predictor.detector is not None:
                    predictor.detector(np.zeros((8, 8, 3), np.uint8))
                self._predictors[key] = predictor
                while len(self._predictors) > _KEPT:
                    self._predictors.popitem(last=False)
            self._predictors.move_to_end(key)
            return self._predictors[key]

    def predict(self, photo, box="", name=None, stack=None, flip=True, person=1):
        """Predict everybody, or the person in a box.

        Args:
            photo: path of the uploaded file, or `None`.
            box: text `x, y, w, h` in source pixels; empty for everybody who is found.
            name: a model of the page; the first by default.
            stack: which stack's heatmaps count; `None` for the last.
            flip: average with the mirrored picture.
            person: whose heatmaps are shown, from 1, the surest first.

        Returns:
            An `Answer`.

        Raises:
            UserError: if there is no photo or the box is none.
        """
        if not photo:
            raise UserError("Drop a photo first.")
        boxes = _boxes(box)
        predictor = self.predictor(name or self.models[0], int(stack) if stack else None, flip)
        start = time.perf_counter()
        [result] = predictor.stream(photo, boxes)
        seconds = time.perf_counter() - start
        result = dataclasses.replace(result, name=pathlib.PurePath(photo).name)
        chosen = min(max(int(person or 1), 1), max(len(result), 1))
        document = json.dumps(result.to_dict(), indent=1)
        with self._files(photo) as stem:
            painted, text = f"{stem}-poses.jpg", f"{stem}-poses.json"
            _numbered(result).save(painted, boxes=not result.alone)
            result.save(text)
        return Answer(
            painted=painted,
            tiles=_tiles(result, chosen, predictor.input_size),
            facts=_facts(result, seconds),
            hint=hint_of(result, predictor.input_size),
            document=document,
            files=[text, painted],
            people=len(result),
            person=chosen,
        )

    def follow(self, video, name=None, flip=True, every=5, progress=None):
        """Follow everybody through a video.

        Args:
            video: path of the uploaded file, or `None`.
            name: a model of the page; the first by default.
            flip: average with the mirrored frames.
            every: frames from one look of the detector to the next.
            progress: called with the number of frames done and their number.

        Returns:
            A `Followed`.

        Raises:
            UserError: if there is no video or nothing in it can be read.
        """
        from keras_hourglass.prediction.picture_poses import write_rows
        from keras_hourglass.prediction.pictures import open_pictures
        from keras_hourglass.prediction.writing import VideoWriter

        if not video:
            raise UserError("Drop a video first.")
        predictor = self.predictor(name or self.models[0], None, flip)
        opened = open_pictures(video)
        if not opened.fps:
            raise UserError(
                "A video ends in .mp4, .mov, .avi, .mkv or .webm. Received: "
                f"{pathlib.PurePath(video).name}. Drop pictures under Photo."
            )
        known = min(opened.count or MAX_FRAMES, MAX_FRAMES)
        start, ids, frames, lost = time.perf_counter(), set(), 0, 0
        results = predictor.track(opened, every=int(every), on_error="keep")
        with self._files(video) as stem:
            folder, stem = os.path.split(f"{stem}-poses")
            title, skeleton = pathlib.PurePath(video).name, predictor.skeleton
            writer = VideoWriter(folder, stem, title, skeleton, opened.fps)
            table = io.StringIO()
            write_rows(table, skeleton, [])
            with writer, contextlib.closing(results):
                for result in itertools.islice(results, MAX_FRAMES):
                    result = dataclasses.replace(result, name=title)
                    frames, lost = frames + 1, lost + (result.error is not None)
                    ids.update(filter(None, result.ids))
                    writer.add(result)
                    if result.error is None:
                        write_rows(table, skeleton, [result], head=False)
                    if progress is not None:
                        progress(frames, known)
            atomic_write(os.path.join(folder, f"{stem}.csv"), table.getvalue())
        files = [os.path.join(folder, f"{stem}{kind}") for kind in (".mp4", ".json", ".csv")]
        if frames == lost:
            raise UserError(
                "A video must hold frames that can be decoded. Received: one of which none can. "
                "Repair or replace it."
            )
        seconds = time.perf_counter() - start
        return Followed(
            painted=files[0],
            facts=_facts_of_video(frames, lost, len(ids), seconds),
            hint=_hint_of_video(writer.codec, frames, opened.count),
            files=files,
        )

    def examples(self):
        """Pictures that come with the page: generated figures.

        Returns:
            A list of paths.
        """
        import numpy as np

        from keras_hourglass.data.figures import render
        from keras_hourglass.io.images import write_image

        folder = tempfile.mkdtemp(dir=self.folder)
        paths = []
        for title, numbers in _FIGURES.items():
            figures = [render(_SEED, number, _FIGURE_SIZE) for number in numbers]
            paths.append(os.path.join(folder, f"{title}.png"))
            write_image(paths[-1], np.hstack(figures))
        return paths

    @contextlib.contextmanager
    def _files(self, source):
        """A path without suffix in a fresh folder, named as the source is."""
        stem = pathlib.PurePath(source).stem[:60] or "photo"
        folder = tempfile.mkdtemp(dir=self.folder)
        yield os.path.join(folder, stem)
        self._written.append(folder)
        while len(self._written) > _RESULTS:
            shutil.rmtree(self._written.popleft(), ignore_errors=True)


def _shipped():
    """Networks of people's joints with weights, the best small one first."""
    from keras_hourglass.skeletons import BOXES
    from keras_hourglass.zoo.store import list_presets

    with_weights = [preset for preset in list_presets() if preset.get("weights")]
    named = [p["name"] for p in with_weights if p.get("skeleton") != BOXES.name]
    return sorted(named, key=lambda name: name != DEFAULT_MODEL)


def _boxes(text):
    from keras_hourglass.prediction.boxes import as_rectangles

    if not (text and text.strip()):
        return None
    try:
        return as_rectangles([float(part) for part in text.split(",")])
    except ValueError:
        raise UserError(
            f"A box is x, y, w, h in pixels. Received: {text[:60]!r}. Drag it over the photo."
        ) from None


def _tiles(result, person, input_size):
    import numpy as np

    from keras_hourglass.prediction.writing import heatmap_tiles

    if not len(result):
        return []
    tiles = heatmap_tiles(result.image, result[person - 1], input_size)
    # The page writes the label over the lower edge, where feet are: room for it.
    room = (0, tiles[0][1].shape[0] // 5), (0, 0), (0, 0)
    return [(np.pad(picture, room), label) for label, picture in tiles]


def _numbered(result):
    """The same, each of several with a number, by which heatmaps are chosen."""
    if len(result) < 2:
        return result
    numbers = enumerate(result, start=1)
    poses = [dataclasses.replace(pose, id=number) for number, pose in numbers]
    return dataclasses.replace(result, poses=poses)


def _facts(result, seconds):
    height, width = result.image.shape[:2]
    facts = [f"**{seconds * 1000:.0f} ms** from file to joints", _who(result)]
    if len(result):
        pose, whose = result[0], "of the surest " if len(result) > 1 else ""
        there = f"{whose}{int(pose.present.sum())} of {len(pose.names)} joints present"
        facts.append(f"{there}, mean score {pose.score:.2f}")
    return " · ".join([*facts, f"{width}×{height} pixels"])


def _who(result):
    """How many people there are, in words."""
    if not len(result):
        return "nobody found"
    if result.alone:
        return "the whole photo taken for one person"
    return "1 person" if len(result) == 1 else f"{len(result)} people"


def hint_of(result, input_size):
    """What to think of a fit that is poor, in words; empty where there is nothing to say.

    Args:
        result: the `PicturePoses`.
        input_size: `(height, width)` of what the network sees, in input pixels.

    Returns:
        Sentences.

    Example:

    >>> from keras_hourglass.prediction import PicturePoses
    >>> hint_of(PicturePoses("street.jpg", []), (128, 128))
    'Nobody was found. Drag a box around the person whom you mean.'
    """
    if not len(result):
        return "Nobody was found. Drag a box around the person whom you mean."
    unsure = sum(not pose.sure for pose in result)
    if result.alone and unsure:
        return (
            "Nobody was found, and the photo as a whole is no person of whom the network is sure: "
            "nothing is drawn. If there is somebody, drag a box around them."
        )
    hints = []
    if result.alone:
        hints.append("Nobody was found in parts of the photo, so all of it is taken for one.")
    elif unsure == len(result):
        hints.append("The fit is poor: no skeleton is sure, and what is drawn is mostly guessed.")
    elif unsure:
        hints.append(f"{unsure} of {len(result)} skeletons are not sure and drawn pale.")
    sure = [pose for pose in result if pose.sure]
    little = sum(pose.present.mean() < _FEW for pose in sure)
    if little:
        whom = "This person" if len(sure) == 1 else f"{little} of {len(sure)}"
        hints.append(
            f"{whom} shows few joints: cut off, hidden, or posed as few in the training pictures."
        )
    small = sum(max(pose.box[2:]) < _SMALL * min(input_size) for pose in result)
    if small:
        whom = "The person is" if len(result) == 1 else f"{small} of {len(result)} are"
        hints.append(
            f"{whom} smaller than {_SMALL * min(input_size):.0f} pixels, too few to be exact."
        )
    return " ".join(hints)


def _facts_of_video(frames, lost, people, seconds):
    facts = [
        f"**{1000 * seconds / frames:.0f} ms a frame**",
        f"{frames} frames" + (f", {lost} of them lost" if lost else ""),
        "1 person followed" if people == 1 else f"{people} people followed",
    ]
    return " · ".join(facts)


def _hint_of_video(codec, frames, announced):
    from keras_hourglass.prediction.encoding import MPEG4

    hints = []
    if frames == MAX_FRAMES and (announced or MAX_FRAMES + 1) > MAX_FRAMES:
        hints.append(
            f"Only the first {MAX_FRAMES} frames were followed; `keras-hourglass predict` takes "
            "all."
        )
    if codec == MPEG4:
        hints.append(
            "This video is MPEG-4 Part 2, which browsers do not play: keep the file, or run "
            "`pip install imageio-ffmpeg` and start the page again."
        )
    return " ".join(hints)
