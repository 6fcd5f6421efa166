"""`keras-hourglass predict`: joints of people in pictures, folders and videos."""

import argparse
import contextlib
import itertools
import os
import sys

from keras_hourglass.choices import DEFAULT_MODEL
from keras_hourglass.cli.common import CtrlC, add_decoder, add_flip
from keras_hourglass.errors import UserError, listed, printable

SAVE = ("images", "json", "csv", "parquet", "video", "sheet")
TABLES = ("csv", "parquet")
# Lost frames that are named; the others are counted.
_NAMED = 3
# Pictures of a run that is over before it matters who has the processors.
_FEW = 8
# Words of --draw, and the options of `drawing.draw_poses` that they stand for.
DRAW = {"boxes": {"boxes": True}, "scores": {"scores": True}, "person": {"colours": "person"}}
SUFFIXES = {"images": ".png", "json": ".json"}


def add_arguments(parser):
    """The options of the command."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="picture, folder, glob, https address, video, or camera:0",
    )  # fmt: skip
    parser.add_argument(
        "--model", help=f"name, part of a name, or path of a model (default: {DEFAULT_MODEL})"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the results (default: poses, or poses-2, …)"
    )
    people = parser.add_argument_group("people (by default everybody who is found)")
    people.add_argument(
        "--box", type=_box, action="append", metavar="X,Y,W,H",
        help="a person's box in source pixels, in every picture; repeat it for more people",
    )  # fmt: skip
    people.add_argument(
        "--boxes", metavar="FILE",
        help='boxes of each picture: {"photo.jpg": [[x,y,w,h], ...]}, COCO annotations or '
        "detections",
    )  # fmt: skip
    people.add_argument("--whole", action="store_true", help="the whole picture frames one person")
    people.add_argument(
        "--detect", nargs="?", const="auto", metavar="DETECTOR",
        help="who finds people, and nobody else counts: the package's own detector, or another "
        "one, a file of TensorFlow Object Detection (.pb, SavedModel), YOLOX, RTMDet or YOLO "
        "(.onnx), or COCO detections (.json)",
    )  # fmt: skip
    people.add_argument(
        "--padding", type=float, default=1.0,
        help="factor by which given or found boxes grow (default: 1)",
    )  # fmt: skip
    results = parser.add_argument_group("results")
    results.add_argument(
        "--save", type=_save, metavar="KINDS",
        help=f"some of {','.join(SAVE)} (default: images,json; for videos video,json)",
    )  # fmt: skip
    results.add_argument(
        "--draw", type=_drawing, default={}, metavar="HOW",
        help=f"how people are painted, some of {','.join(DRAW)}",
    )  # fmt: skip
    results.add_argument("--heatmaps", action="store_true", help="also sheets of heatmaps")
    results.add_argument("--show", action="store_true", help="show the results in a window")
    results.add_argument("--overwrite", action="store_true", help="replace files in --out")
    results.add_argument(
        "--resume", action="store_true",
        help="go on where a run into --out was cut off; pictures that are done are left out",
    )  # fmt: skip
    network = parser.add_argument_group("network")
    network.add_argument("--stack", type=int, help="which stack's heatmaps (default: the last)")
    add_flip(network)
    add_decoder(network)
    network.add_argument(
        "--threshold", type=float, help="least score of a present joint (default: the model's)"
    )
    network.add_argument("--batch-size", type=int, default=8, help="people at once (default: 8)")
    network.add_argument("--engine", default="auto", help="what runs the network (default: auto)")
    videos = parser.add_argument_group("videos (people keep a number from frame to frame)")
    videos.add_argument(
        "--smooth", action="store_true", help="smooth the joints over time (One-Euro)"
    )
    videos.add_argument(
        "--every", type=int, default=5, metavar="N",
        help="look for people in every N-th frame; between, boxes follow the joints (default: 5)",
    )  # fmt: skip


def _box(text):
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"a box is x,y,w,h, e.g. --box=10,20,200,400, not {text}")
    return values


def _drawing(text):
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in DRAW]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"choose some of {','.join(DRAW)}, not {text!r}")
    return {name: value for word in wanted for name, value in DRAW[word].items()}


def _save(text):
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in SAVE]
    if unknown or not kinds:
        raise argparse.ArgumentTypeError(f"choose some of {','.join(SAVE)}, not {text!r}")
    return kinds


def run(args):
    """Predict every source and write the results; returns the exit status."""
    args.model = _named(args.model)
    if args.resume and (args.out is None or args.overwrite):
        raise UserError(
            "--resume goes on in the folder named by --out, and replaces nothing. Received: "
            f"{'--overwrite' if args.overwrite else 'no --out'}."
        )
    if args.out is None:
        args.out = _fresh("poses")
    # Mistakes show here, before TensorFlow is loaded, which takes seconds.
    job = Job(args)
    try:
        return job.run(_predictor(args, job))
    finally:
        job.tidy()


def _named(text):
    """The model that is meant, said where it is not what was written."""
    from keras_hourglass.zoo.store import preset_named

    name = DEFAULT_MODEL if text is None else preset_named(text)
    if name != text:
        print(f"keras-hourglass predict: the model is {name}", file=sys.stderr)
    return name


def _fresh(name):
    """A folder of a name that nothing has yet."""
    number = itertools.count(2)
    folder = name
    while os.path.lexists(folder):
        folder = f"{name}-{next(number)}"
    return folder


def _predictor(args, job):
    from keras_hourglass.prediction.detection import OWN
    from keras_hourglass.prediction.predictor import Predictor

    return Predictor(
        args.model,
        flip=args.flip,
        decoder=args.decoder,
        batch_size=args.batch_size,
        stack=args.stack,
        engine=args.engine,
        thresholds=args.threshold,
        # By name its word counts: nobody found is nobody.
        detector={None: "auto", "auto": OWN}.get(args.detect, args.detect),
        padding=args.padding,
        heatmaps=args.heatmaps,
        whole=args.whole,
        spinning=job.stills.count <= _FEW and not job.videos,
    )


class Job:
    """One call of the command.

    Args:
        args: the parsed arguments.

    Raises:
        UserError: for a source, box or output that cannot be, before any work is done.
    """

    def __init__(self, args):
        from keras_hourglass.prediction.pictures import Pictures, open_pictures

        self.args, self.journal, self.new, self.finished = args, None, False, False
        if args.every < 1:
            raise UserError(f"--every is a positive number of frames. Received: {args.every}.")
        if args.resume and args.save and "sheet" in args.save:
            raise UserError("A sheet shows one run's pictures. Received: --resume --save sheet.")
        self.boxes = _boxes(args)
        opened = [open_pictures(_camera(source)) for source in args.sources]
        self.videos = [pictures for pictures in opened if pictures.fps]
        stills = [picture for pictures in opened if not pictures.fps for picture in pictures]
        self.stills = Pictures(stills, len(stills), "folder")
        if args.save and "video" in args.save and not self.videos:
            raise UserError("--save video needs a video or a camera. Received: pictures only.")
        if args.resume and self.videos:
            raise UserError(
                "--resume is for pictures; people in a video are followed from its start. "
                f"Received: {self.videos[0].name}. Leave --resume out."
            )
        if args.heatmaps and self.videos:
            raise UserError("--heatmaps is for pictures. Received: a video. Leave one out.")
        self.kinds = set(args.save or ("images", "json"))
        self.video_kinds = set(args.save or ("video", "json"))
        self.window = _Window() if args.show else None
        paths = [picture.name for picture in stills]
        if args.boxes:
            self._meet_boxes(paths)
        try:
            self._name_files(paths)
        except BaseException:
            self.tidy()
            raise
        for others in filter(None, (pictures.passed_over for pictures in opened)):
            self._report(f"no pictures, passed over: {listed(others)}")
        self.pictures, self.people, self.failed, self.doubtful = 0, 0, 0, 0
        self.empty, self.alone = 0, 0  # pictures without anybody, and those taken whole instead
        self.pale = 0  # people in pictures who are not sure
        self.frames, self.lost, self.nobody, self.ids = 0, 0, 0, {}
        self.ctrl_c = CtrlC()
        self.unsure = None  # the first box in which no joint is present

    def _meet_boxes(self, paths):
        """Name what meets nothing: pictures that the box file does not name, and the reverse."""
        from keras_hourglass.prediction.boxes import NamedBoxes

        named = NamedBoxes(self.boxes, paths)
        without, unused = named.meet([*paths, *(video.name for video in self.videos)])
        if without and len(without) == len(paths) + len(self.videos):
            raise UserError(
                f"The boxes of {self.args.boxes} are of none of the pictures. Received: boxes of "
                f"{listed(unused)}; pictures {listed(without)}. Name pictures there by file "
                "name, with their folders where names are the same."
            )
        if without:
            self._report(f"no boxes, so the whole picture is taken: {listed(without)}")
        if unused:
            self._report(f"boxes of no picture here: {listed(unused)}")

    def _name_files(self, paths):
        from keras_hourglass.io.files import new_folder
        from keras_hourglass.prediction.journal import NAME, Journal, load_parquet
        from keras_hourglass.prediction.writing import FileNames

        args = self.args
        if "parquet" in self.kinds:
            load_parquet()
        self.new = not os.path.lexists(args.out)
        folder = new_folder(args.out, overwrite=True)
        if args.resume:
            self.journal = Journal(folder, self._options(), resume=True)
        known = {} if self.journal is None else dict(self.journal.stems)
        left = os.path.exists(folder / NAME) and not args.resume
        names = FileNames(
            folder,
            args.overwrite,
            sources=[*paths, *(video.name for video in self.videos)],
            taken=known.values(),
            hint=" A run there was cut off: --resume goes on with it." if left else "",
        )
        suffixes = [SUFFIXES[kind] for kind in SUFFIXES if kind in self.kinds]
        suffixes += ["-heatmaps.png"] if args.heatmaps else []
        # A run that came to its end left no journal; only pictures that are new are to do. A table
        # lacks the rows of the others, so it is made for all.
        tables = [kind for kind in TABLES if kind in self.kinds]
        names.keep = args.resume and not tables and not self.journal.resumed
        planned, self.stems = {}, []
        for key, path in _keys(paths):
            if key not in known:
                planned[key] = names.stem(path, suffixes)
            self.stems.append(known.get(key) or planned[key])
        names.keep = False
        suffixes = [".json"] if "json" in self.video_kinds else []
        suffixes += [".mp4"] if "video" in self.video_kinds else []
        self.video_stems = [names.stem(video.name, suffixes) for video in self.videos]
        self.folder, self.sheet = names.folder, None
        if "sheet" in self.kinds and paths:
            self.sheet = names.stem("sheet", [".png"])
        if self.journal is not None and self.journal.resumed:
            names.overwrite = True  # what an interrupted run has written of them
        self.tables = []
        if tables:
            stem = names.stem("poses", [f".{kind}" for kind in tables])
            self.tables = [names.folder / f"{stem}.{kind}" for kind in tables]
        if self.journal is None:
            self.journal = Journal(folder, self._options())
        self.journal.plan(planned)
        self._leave_out_what_is_done(names.kept)

    def _options(self):
        """What of the command decides about the results."""
        told = ("model", "box", "boxes", "whole", "detect", "padding", "save", "draw", "heatmaps",
                "stack", "flip", "decoder", "threshold")  # fmt: skip
        return {name: getattr(self.args, name) for name in told}

    def _leave_out_what_is_done(self, kept):
        from keras_hourglass.prediction.pictures import Pictures

        rest = [
            (picture, stem)
            for picture, stem in zip(self.stills, self.stems, strict=True)
            if stem not in self.journal and stem not in kept
        ]
        self.done = self.stills.count - len(rest)
        self.stills = Pictures([picture for picture, _ in rest], len(rest), "folder")
        self.stems = [stem for _, stem in rest]
        if self.args.resume:
            self._report(f"{_number(self.done, 'picture', 'pictures')} done, {len(rest)} to do")

    def run(self, predictor):
        """Predict and write everything; returns the exit status.

        After Ctrl-C the files of what was predicted until then are finished first.
        """
        interrupted = False
        try:
            with self.ctrl_c:
                if self.stills.count:
                    self._run_stills(predictor)
                for video, stem in zip(self.videos, self.video_stems, strict=True):
                    self._run_video(predictor, video, stem)
        except KeyboardInterrupt:
            interrupted = True
        if self.tables and not self._bare():
            self.journal.write_tables(self.tables, predictor.skeleton)
        self.finished = not interrupted
        return self._summary(interrupted)

    def _read_nothing(self):
        return self.failed + self.lost == self.pictures + self.frames

    def _bare(self):
        """Whether nothing could be read, in this run and in those that it goes on with."""
        return self._read_nothing() and not len(self.journal)

    def _rows(self, result):
        return result.to_rows() if self.tables else []

    def tidy(self):
        """Let go of the journal; a folder of its own making goes if nothing was written into it."""
        if self.journal is not None:
            self.journal.close(self.finished or not len(self.journal))
        if self.new:
            with contextlib.suppress(OSError):
                os.rmdir(self.args.out)

    def _run_stills(self, predictor):
        from keras_hourglass.prediction.writing import PictureWriter

        writer = PictureWriter(
            self.folder,
            predictor.skeleton,
            images="images" in self.kinds,
            documents="json" in self.kinds,
            heatmaps=self.args.heatmaps,
            input_size=predictor.input_size,
            padding=predictor.padding,
            sheet=self.sheet,
            drawing=self.args.draw,
            done=lambda result, stem: self.journal.add(stem, self._rows(result)),
        )
        results = predictor.stream(self.stills, self.boxes, on_error="keep")
        with writer, contextlib.closing(results):
            stems = iter(self.stems)
            for result in self._progress(results, self.stills.count, "picture"):
                stem = next(stems)
                if self._count(result):
                    writer.add(result, stem)

    def _run_video(self, predictor, video, stem):
        from keras_hourglass.prediction.encoding import MPEG4
        from keras_hourglass.prediction.writing import VideoWriter

        self.ids[stem] = set()
        writer = VideoWriter(
            self.folder,
            stem,
            video.name,
            predictor.skeleton,
            video.fps,
            video="video" in self.video_kinds,
            document="json" in self.video_kinds,
            drawing=self.args.draw,
        )
        options = {"every": self.args.every, "smooth": self.args.smooth, "on_error": "keep"}
        results = predictor.track(video, self.boxes, **options)
        with writer, contextlib.closing(results):
            for result in self._progress(results, video.count, "frame"):
                if self._count(result) and self.tables:
                    self.journal.add(f"{stem} {result.frame}", self._rows(result))
                writer.add(result)
                self.ids[stem].update(filter(None, result.ids))
                if self.window and self.window.closed:
                    break
        if writer.codec == MPEG4:
            self._report(
                f"{stem}.mp4 is {MPEG4}, which browsers do not play: no H.264 encoder is here. "
                "Run: pip install imageio-ffmpeg"
            )

    def _progress(self, results, count, unit):
        from tqdm import tqdm

        return tqdm(
            results,
            total=count,
            unit=unit,
            disable=True if count == 1 else None,
            dynamic_ncols=True,
        )

    def _count(self, result):
        """Count, report, show; whether there is something to write."""
        self.ctrl_c.check()
        frame = result.frame is not None
        self.pictures, self.frames = self.pictures + (not frame), self.frames + frame
        if result.error is not None:
            self.failed, self.lost = self.failed + (not frame), self.lost + frame
            if self.lost <= _NAMED or not frame:
                self._report(" ".join(str(result.error).split()))
            return False
        if not result.poses and not frame:
            self.empty += 1
            self._report_nobody(result.name)
        if result.alone and not frame:
            self.alone += 1
            doubt = "" if result.poses[0].sure else ", who is not sure"
            self._report_nobody(f"{result.name}: the whole picture is taken for one person{doubt}")
        self.nobody += frame and not any(result.ids)
        if not frame:
            self.people += len(result.poses)
            self.pale += sum(not pose.sure for pose in result.poses)
        unsure = [pose for pose in result.poses if not pose.present.any()]
        # Given boxes are all meant; of those that a detector finds, some are no people.
        self.doubtful += bool(unsure) and (
            self.boxes is not None or len(unsure) == len(result.poses)
        )
        if unsure and self.unsure is None:
            self.unsure = f"{','.join(f'{value:g}' for value in unsure[0].box)} of {result.name}"
        if self.window:
            self.window.show(result)
        return True

    def _report_nobody(self, where):
        """Name the first pictures without anybody; of a large folder the rest are counted."""
        count = self.empty + self.alone
        if count <= _NAMED:
            self._report(f"nobody found in {where}")
        elif count == _NAMED + 1:
            self._report("further pictures in which nobody is found are counted at the end")

    def _report(self, message):
        from tqdm import tqdm

        tqdm.write(f"keras-hourglass predict: {printable(message)}", file=sys.stderr)

    def _summary(self, interrupted):
        lines = [self._said_of_pictures()] if self.stills.count or not self.frames else []
        lines += [self._said_of_frames()] if self.frames else []
        bare = self._bare() and (self.new or self.tables)
        print(f"{'; '.join(lines)}: {'nothing written' if bare else self.folder}")
        if self.doubtful and not self.args.detect:
            self._report(self._doubt())
        if interrupted:
            more = "" if self.videos else "; --resume --out goes on from there"
            self._report(f"interrupted; what was predicted until then is written{more}")
            return 130
        if self.failed or self.lost:
            return 2 if self._read_nothing() else 1
        return 0

    def _said_of_pictures(self):
        parts = [f"{_number(self.people, 'person', 'people')} in "]
        parts.append(_number(self.pictures - self.failed, "picture", "pictures"))
        if self.empty:
            parts.append(f", {self.empty} without anybody")
        if self.failed:
            parts.append(f", {self.failed} not readable")
        if self.pale:
            parts.append(f", {_number(self.pale, 'skeleton', 'skeletons')} unsure and drawn pale")
        if self.alone:
            parts.append(f", {self.alone} taken whole, since nobody was found")
        return "".join(parts)

    def _said_of_frames(self):
        people = sum(len(ids) for ids in self.ids.values())
        parts = [f"{_number(people, 'person', 'people')} followed through "]
        parts.append(_number(self.frames - self.lost, "frame", "frames"))
        if self.nobody:
            parts.append(f", {self.nobody} without anybody who is sure")
        if self.lost:
            parts.append(f", {_number(self.lost, 'frame', 'frames')} lost")
        return "".join(parts)

    def _doubt(self):
        """What to look at where no joint is sure."""
        where = _number(
            self.doubtful, *(("frame", "frames") if self.frames else ("picture", "pictures"))
        )
        if self.boxes is None:
            return (
                f"no joint is sure in {where}; where one person does not fill the picture, give "
                "--box or --boxes, or try --detect with the file of another detector"
            )
        return (
            f"no joint of somebody is sure in {where}, first in the box {self.unsure}; a box is "
            "x,y,w,h in source pixels and frames one person"
        )


def _keys(paths):
    """Each path with a name for the journal that no other has, also of a picture named twice."""
    times = {}
    for path in paths:
        times[path] = times.get(path, 0) + 1
        yield (path if times[path] == 1 else f"{path} {times[path]}"), path


def _number(count, one, many):
    return f"{count} {one if count == 1 else many}"


def _boxes(args):
    from keras_hourglass.prediction.boxes import as_rectangles, read_boxes

    if sum(map(bool, (args.box, args.boxes, args.detect, args.whole))) > 1:
        raise UserError("Give only one of --box, --boxes, --detect and --whole. Received: several.")
    if args.box:
        return as_rectangles(args.box)
    return read_boxes(args.boxes) if args.boxes else None


def _camera(source):
    """`camera:0`, or a number that is no file, as a camera's index."""
    number = source.removeprefix("camera:")
    if number.isdecimal() and (number != source or not os.path.exists(source)):
        return int(number)
    return source


class _Window:
    """Results in a window of matplotlib, since servers' OpenCV has none."""

    def __init__(self):
        import matplotlib
        from matplotlib import pyplot

        if matplotlib.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg"):
            raise UserError(
                "--show needs a display. Received: none here. Leave --show out and look at --out."
            )
        self._pyplot = pyplot
        self._figure, axes = pyplot.subplots(layout="constrained")
        axes.axis("off")
        self._axes, self._image = axes, None

    @property
    def closed(self):
        return not self._pyplot.fignum_exists(self._figure.number)

    def show(self, result):
        if self.closed:
            return
        painted = result.draw()
        self._axes.clear()
        self._axes.axis("off")
        self._axes.set_title(result.name)
        self._axes.imshow(painted)
        self._pyplot.pause(0.001 if result.frame is not None else 1.0)
