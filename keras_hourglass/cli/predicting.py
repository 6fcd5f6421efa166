"""The work of `keras-hourglass predict`: plan the files, run, write, count what failed."""

import contextlib
import os
import sys

from keras_hourglass.errors import UserError
from keras_hourglass.io.files import new_folder
from keras_hourglass.prediction.boxes import as_rectangles, read_boxes
from keras_hourglass.prediction.pictures import Pictures, open_pictures
from keras_hourglass.prediction.writing import FileNames, PictureWriter, TableWriter, VideoWriter

SUFFIXES = {"images": ".png", "json": ".json"}


class Job:
    """One call of the command.

    Args:
        args: the parsed arguments.

    Raises:
        UserError: for a source, box or output that cannot be, before any work is done.
    """

    def __init__(self, args):
        self.args = args
        self.boxes = _boxes(args)
        opened = [open_pictures(_camera(source)) for source in args.sources]
        self.videos = [pictures for pictures in opened if pictures.fps]
        stills = [picture for pictures in opened if not pictures.fps for picture in pictures]
        self.stills = Pictures(stills, len(stills), "folder")
        if args.save and "video" in args.save and not self.videos:
            raise UserError("--save video needs a video or a camera. Received: pictures only.")
        if args.heatmaps and self.videos:
            raise UserError("--heatmaps is for pictures. Received: a video. Leave one out.")
        self.kinds = set(args.save or ("images", "json"))
        self.video_kinds = set(args.save or ("video", "json"))
        self.window = _Window() if args.show else None
        self._name_files([picture.name for picture in stills])
        self.pictures, self.people, self.failed, self.empty, self.doubtful = 0, 0, 0, 0, 0
        self.unsure = None  # the first box in which no joint is present

    def _name_files(self, paths):
        args = self.args
        self.new = not os.path.lexists(args.out)
        new_folder(args.out, overwrite=True)
        inputs = [*paths, *(video.name for video in self.videos)]
        names = FileNames(args.out, args.overwrite, sources=inputs)
        suffixes = [SUFFIXES[kind] for kind in SUFFIXES if kind in self.kinds]
        suffixes += ["-heatmaps.png"] if args.heatmaps else []
        self.stems = [names.stem(path, suffixes) for path in paths]
        suffixes = [".json"] if "json" in self.video_kinds else []
        suffixes += [".mp4"] if "video" in self.video_kinds else []
        self.video_stems = [names.stem(video.name, suffixes) for video in self.videos]
        self.folder, self.table_path = names.folder, None
        if "csv" in self.kinds:
            self.table_path = names.folder / f"{names.stem('poses', ['.csv'])}.csv"

    def run(self, predictor):
        """Predict and write everything; returns the exit status.

        After Ctrl-C the files of what was predicted until then are finished first.
        """
        interrupted = False
        try:
            with contextlib.ExitStack() as stack:
                self.table = None
                if self.table_path:
                    table = TableWriter(self.table_path, predictor.skeleton)
                    self.table = stack.enter_context(table)
                if self.stills.count:
                    self._run_stills(predictor)
                for video, stem in zip(self.videos, self.video_stems, strict=True):
                    self._run_video(predictor, video, stem)
        except KeyboardInterrupt:
            interrupted = True
        return self._summary(interrupted)

    def tidy(self):
        """Take a folder of its own making away again if nothing was written into it."""
        if self.new:
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _run_stills(self, predictor):
        writer = PictureWriter(
            self.folder,
            predictor.skeleton,
            images="images" in self.kinds,
            documents="json" in self.kinds,
            heatmaps=self.args.heatmaps,
            input_size=predictor.input_size,
            padding=predictor.padding,
        )
        results = predictor.stream(self.stills, self.boxes, on_error="keep")
        with writer, contextlib.closing(results):
            stems = iter(self.stems)
            for result in self._progress(results, self.stills.count, "picture"):
                stem = next(stems)
                if self._count(result):
                    writer.add(result, stem)

    def _run_video(self, predictor, video, stem):
        writer = VideoWriter(
            self.folder,
            stem,
            video.name,
            predictor.skeleton,
            video.fps,
            video="video" in self.video_kinds,
            document="json" in self.video_kinds,
        )
        smooth = None
        if self.args.smooth:
            from keras_hourglass.prediction.tracking import PoseSmoother

            smooth = PoseSmoother(video.fps)
        results = predictor.stream(video, self.boxes, on_error="keep")
        with writer, contextlib.closing(results):
            for result in self._progress(results, video.count, "frame"):
                if self._count(result):
                    if smooth:
                        smooth(result.poses)
                    writer.add(result)
                if self.window and self.window.closed:
                    break

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
        self.pictures += 1
        if result.error is not None:
            self.failed += 1
            self._report(" ".join(str(result.error).split()))
            return False
        if not result.poses and result.frame is None:
            self._report(f"nobody found in {result.name}")
        self.empty += not result.poses
        self.people += len(result.poses)
        unsure = [pose for pose in result.poses if not pose.present.any()]
        self.doubtful += bool(unsure)
        if unsure and self.unsure is None:
            self.unsure = f"{','.join(f'{value:g}' for value in unsure[0].box)} of {result.name}"
        if self.table:
            self.table.add(result)
        if self.window:
            self.window.show(result)
        return True

    def _report(self, message):
        from tqdm import tqdm

        tqdm.write(f"keras-hourglass predict: {message}", file=sys.stderr)

    def _summary(self, interrupted):
        parts = [f"{_number(self.people, 'person', 'people')} in "]
        parts.append(_number(self.pictures - self.failed, "picture", "pictures"))
        if self.empty:
            parts.append(f", {self.empty} without anybody")
        if self.failed:
            parts.append(f", {self.failed} not readable")
        print(f"{''.join(parts)}: {self.folder}")
        if self.doubtful and not self.args.detect:
            self._report(self._doubt())
        if interrupted:
            self._report("interrupted; what was predicted until then is written")
            return 130
        if self.failed:
            return 2 if self.failed == self.pictures else 1
        return 0

    def _doubt(self):
        """What to look at where no joint is sure."""
        where = _number(self.doubtful, "picture", "pictures")
        if self.boxes is None:
            return (
                f"no joint is sure in {where}; where one person does not fill the picture, give "
                "--box or --boxes, or try --detect"
            )
        return (
            f"no joint of somebody is sure in {where}, first in the box {self.unsure}; a box is "
            "x,y,w,h in source pixels and frames one person"
        )


def _number(count, one, many):
    return f"{count} {one if count == 1 else many}"


def _boxes(args):
    if sum(map(bool, (args.box, args.boxes, args.detect))) > 1:
        raise UserError("Give only one of --box, --boxes and --detect. Received: several.")
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
        from keras_hourglass.prediction.drawing import draw_poses

        if self.closed:
            return
        painted = draw_poses(result.image, result.poses)
        self._axes.clear()
        self._axes.axis("off")
        self._axes.set_title(result.name)
        self._axes.imshow(painted)
        self._pyplot.pause(0.001 if result.frame is not None else 1.0)
