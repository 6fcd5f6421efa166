"""`keras-hourglass predict`, in this process and with a tiny untrained network."""

import csv
import dataclasses
import functools
import http.server
import json
import signal
import threading

import cv2
import numpy as np
import pytest
from colour_engine import paint
from networks import engines_once, save_untrained

from keras_hourglass.cli import main
from keras_hourglass.errors import listed
from keras_hourglass.io.download import ALLOW_LOCAL
from keras_hourglass.io.images import read_image, write_image
from keras_hourglass.prediction.journal import NAME
from keras_hourglass.prediction.predictor import Predictor
from keras_hourglass.zoo import store as presets

POINTS = ((40, 30), (70, 60), (90, 20))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", autouse=True)
def once():
    """Build and compile the network once: nothing here is about that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "load_model", functools.cache(presets.load_model))
        patch.setattr(presets, "load_snapshot", functools.cache(presets.load_snapshot))
        engines_once(patch)
        yield


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number, name in enumerate(("one.png", "two.jpg", "three.png")):
        write_image(folder / name, paint(80 + number, 110, *POINTS))
    return folder


@pytest.fixture
def predict(model, tmp_path):
    def run(*words, out="out"):
        return main(["predict", "--model", model, "--out", str(tmp_path / out), *map(str, words)])

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_a_photo(predict, photos, tmp_path, capsys):
    assert predict(photos / "one.png") == 0
    assert names(tmp_path / "out") == ["one.json", "one.png"]
    document = json.loads((tmp_path / "out/one.json").read_text())
    assert document["image"] == str(photos / "one.png")
    assert len(document["keypoint_names"]) == 14 and "left_ankle" in document["keypoint_names"]
    [person] = document["people"]
    assert person["box"] == [0, 0, 110, 80] and np.shape(person["keypoints"]) == (14, 3)
    assert read_image(tmp_path / "out/one.png").shape == (80, 110, 3)
    assert "1 person in 1 picture" in capsys.readouterr().out


def test_boxes_and_pictures_that_meet_nothing_are_named(predict, photos, tmp_path, capsys):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"one.png": [1, 2, 60, 60], "gone.png": [1, 2, 3, 4]}))
    assert predict(photos, "--boxes", boxes) == 0
    told = capsys.readouterr().err
    others = listed([photos / "three.png", photos / "two.jpg"])
    assert others.endswith("photos/two.jpg")
    assert f"no boxes, so the whole picture is taken: {others}\n" in told
    assert "boxes of no picture here: gone.png\n" in told
    boxes.write_text(json.dumps([{"image_id": 1, "bbox": [1, 2, 60, 60], "score": 0.9}]))
    assert predict(photos, "--boxes", boxes) == 2
    assert "are of none of the pictures. Received: boxes of 000000000001" in capsys.readouterr().err


def test_nothing_in_a_folder_is_passed_over_in_silence(predict, photos, tmp_path, capsys):
    from PIL import Image

    for name in ("notes.txt", "clip.mp4", ".hidden"):
        (photos / name).write_bytes(b"-")
    (photos / "more").mkdir()
    Image.open(photos / "one.png").save(photos / "x.gif")
    (photos / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    assert predict(photos) == 1
    told = capsys.readouterr()
    assert "4 people in 4 pictures, 1 not readable" in told.out
    others = listed([photos / name for name in ("clip.mp4", "more", "notes.txt")])
    assert "photos/clip.mp4, " in others
    assert f"no pictures, passed over: {others}\n" in told.err and ".hidden" not in told.err
    assert "IMG_1.HEIC" in told.err and "x.json" in names(tmp_path / "out")


def test_a_hint_where_nobody_fills_the_picture(predict, photos, capsys):
    assert predict(photos / "one.png", "--threshold", 1e9) == 0
    assert "try --detect" in capsys.readouterr().err
    assert predict(photos / "one.png", "--threshold", 1e9, "--box=1,1,60,60", "--overwrite") == 0
    told = capsys.readouterr().err
    assert "try --detect" not in told and "sure in 1 picture, first in the box 1,1,60,60 of" in told


def test_one_more_whom_a_detector_finds_is_no_reason_for_the_hint(
    predict, photos, monkeypatch, capsys
):
    """Beside somebody whose joints are sure; of boxes that are given, each is meant."""
    stream = Predictor.stream

    def with_another(self, *words, **options):
        for result in stream(self, *words, **options):
            [pose] = result.poses
            sure = dataclasses.replace(pose, present=np.arange(14) == 3)
            unsure = dataclasses.replace(pose, present=np.zeros(14, bool))
            result.poses = [sure, unsure]
            yield result

    monkeypatch.setattr(Predictor, "stream", with_another)
    assert predict(photos / "one.png") == 0
    told = capsys.readouterr()
    assert told.out.startswith("2 people in 1 picture") and "no joint" not in told.err
    assert predict(photos / "one.png", "--box=1,1,60,60", "--overwrite") == 0
    assert "no joint of somebody is sure in 1 picture" in capsys.readouterr().err


def test_detection_says_when_it_finds_nobody(predict, photos, tmp_path, capsys):
    write_image(tmp_path / "dark.png", np.zeros((64, 64, 3), np.uint8))
    assert predict(tmp_path / "dark.png", "--detect") == 0
    captured = capsys.readouterr()
    assert "nobody found in" in captured.err and "dark.png" in captured.err
    assert "0 people in 1 picture, 1 without anybody" in captured.out
    assert json.loads((tmp_path / "out/dark.json").read_text())["people"] == []


@pytest.mark.slow
def test_of_many_pictures_without_anybody_the_first_are_named(predict, tmp_path, capsys):
    (tmp_path / "dark").mkdir()
    for number in range(6):
        write_image(tmp_path / "dark" / f"{number}.png", np.zeros((48, 64, 3), np.uint8))
    for words, counted in (
        (["--detect"], "6 without anybody"),
        ([], "6 taken whole, since nobody was found"),
    ):
        assert predict(tmp_path / "dark", *words, "--overwrite") == 0
        captured = capsys.readouterr()
        named = [line for line in captured.err.splitlines() if "nobody found in" in line]
        assert len(named) == 3 and all(f"{number}.png" in named[number] for number in range(3))
        assert captured.err.count("further pictures in which nobody is found are counted") == 1
        assert counted in captured.out


def test_show_needs_a_display(predict, photos, monkeypatch, capsys):
    import matplotlib

    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    assert predict(photos / "one.png", "--show") == 2
    assert "needs a display" in capsys.readouterr().err


def test_a_folder_with_boxes_tables_and_sheets(predict, photos, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"one.png": [[0, 0, 50, 50], [9, 9, 40, 60]]}))
    words = ("--boxes", tmp_path / "boxes.json", "--save", "json,csv", "--heatmaps")
    assert predict(photos, *words, "--stack", 1, "--no-flip") == 0
    sheets = ["one-heatmaps-2.png", "one-heatmaps.png", "three-heatmaps.png", "two-heatmaps.png"]
    expected = sheets + ["one.json", "poses.csv", "three.json", "two.json"]
    assert names(tmp_path / "out") == sorted(expected)
    with open(tmp_path / "out/poses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"][-7:], row["person"]) for row in rows] == [
        ("one.png", "1"), ("one.png", "2"), ("ree.png", "1"), ("two.jpg", "1"),
    ]  # fmt: skip
    document = json.loads((tmp_path / "out/one.json").read_text())
    expected = document["people"][1]["keypoints"][13]
    row = rows[1]
    assert [float(row[f"head_top_{column}"]) for column in ("x", "y", "score")] == expected
    assert row["box_w"] == "40.0" and row["head_top_present"] in "01"


def test_a_contact_sheet_and_ways_to_draw(predict, photos, tmp_path, capsys):
    assert predict(photos, "--save", "images,sheet", "--box=5,5,60,60") == 0
    assert names(tmp_path / "out") == ["one.png", "sheet.png", "three.png", "two.png"]
    # Two rows of two: pictures of 320 with labels of 18 and gaps of 4; small ones not enlarged.
    assert read_image(tmp_path / "out/sheet.png").shape == (2 * 342 + 4, 2 * 324 + 4, 3)
    plain = read_image(tmp_path / "out/one.png")
    ways = ("--draw", "boxes,scores,person")
    assert predict(photos / "one.png", "--box=5,5,60,60", *ways, out="other") == 0
    boxed = read_image(tmp_path / "other/one.png")
    assert (plain[30, 3:7] != boxed[30, 3:7]).any()
    with pytest.raises(SystemExit):
        predict(photos, "--draw", "rainbow", out="third")
    assert "choose some of boxes,scores,person" in capsys.readouterr().err


def test_equal_names_do_not_overwrite_each_other(predict, photos, tmp_path):
    write_image(tmp_path / "other/one.jpg", paint(60, 70, *POINTS))
    assert predict(photos / "one.png", tmp_path / "other/one.jpg", photos / "one.png") == 0
    assert names(tmp_path / "out") == [
        f"one{number}.{suffix}" for number in ("-2", "-3", "") for suffix in ("json", "png")
    ]
    document = json.loads((tmp_path / "out/one-2.json").read_text())
    assert document["image"].endswith("one.jpg")
    assert read_image(tmp_path / "out/one-2.png").shape == (60, 70, 3)


def test_nothing_is_overwritten(predict, photos, tmp_path, capsys):
    assert predict(photos / "one.png") == 0
    before = (tmp_path / "out/one.json").stat().st_mtime_ns
    assert predict(photos / "two.jpg", photos / "one.png") == 2
    assert "one.png" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["one.json", "one.png"]
    assert (tmp_path / "out/one.json").stat().st_mtime_ns == before
    assert predict(photos / "one.png", "--overwrite") == 0
    assert (tmp_path / "out/one.json").stat().st_mtime_ns > before


def test_inputs_are_never_overwritten(predict, photos, capsys):
    before = (photos / "one.png").read_bytes()
    assert predict(photos / "one.png", "--overwrite", out="photos") == 2
    assert "replace an input" in capsys.readouterr().err
    assert (photos / "one.png").read_bytes() == before


def test_broken_files_are_reported_and_the_rest_continues(predict, photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes((photos / "two.jpg").read_bytes()[:300])
    assert predict(photos, photos / "missing.png") == 1
    captured = capsys.readouterr()
    assert "broken.jpg" in captured.err and "missing.png" in captured.err
    assert "3 people in 3 pictures, 2 not readable" in captured.out
    assert "Traceback" not in captured.err
    assert len(names(tmp_path / "out")) == 6
    assert predict(photos / "missing.png", out="other") == 2
    assert not (tmp_path / "other").exists()
    said = "0 people in 0 pictures, 1 not readable: nothing written\n"
    assert capsys.readouterr().out == said
    (tmp_path / "mine").mkdir()
    assert predict(photos / "missing.png", out="mine") == 2
    assert (tmp_path / "mine").is_dir()


def test_a_table_of_nothing_readable_is_not_written(predict, photos, tmp_path, capsys):
    assert predict(photos / "missing.png", "--save", "csv", out="none") == 2
    assert capsys.readouterr().out.endswith("1 not readable: nothing written\n")
    assert not (tmp_path / "none").exists()
    # One that can be read makes the table, also beside one that cannot.
    assert predict(photos / "missing.png", photos / "one.png", "--save", "csv", out="some") == 1
    assert names(tmp_path / "some") == ["poses.csv"]


def test_video_keeps_its_rate(predict, tmp_path):
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (111, 81))
    for _ in range(7):
        writer.write(paint(81, 111, *POINTS))
    writer.release()
    assert predict(path, "--smooth", "--save", "video,json,csv", "--box=10,10,60,60") == 0
    assert names(tmp_path / "out") == ["film.json", "film.mp4", "poses.csv"]
    film = cv2.VideoCapture(str(tmp_path / "out/film.mp4"))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    document = json.loads((tmp_path / "out/film.json").read_text())
    assert document["fps"] == 12.5 and [f["frame"] for f in document["frames"]] == list(range(7))
    assert document["frames"][6]["people"][0]["box"] == [10, 10, 60, 60]


def test_people_of_a_video_are_followed_and_lost_frames_counted(
    predict, tmp_path, monkeypatch, capsys
):
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (111, 81))
    for _ in range(7):
        writer.write(paint(81, 111, *POINTS))
    writer.release()
    reads, real = [], cv2.VideoCapture

    class Capture:
        def __init__(self, source):
            self._capture = real(source)

        def __getattr__(self, name):
            return getattr(self._capture, name)

        def read(self):
            reads.append(1)
            there, frame = self._capture.read()
            return (False, None) if len(reads) in (3, 4) else (there, frame)

    with monkeypatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", Capture)
        assert predict(path, "--box=10,10,60,60", "--threshold", "0", "--save", "json,csv") == 1
    told = capsys.readouterr()
    assert "1 person followed through 5 frames, 2 frames lost" in told.out
    assert "frame 2 of" in told.err and "picture" not in told.out
    frames = json.loads((tmp_path / "out/film.json").read_text())["frames"]
    assert [frame.get("lost", False) for frame in frames] == [n in (2, 3) for n in range(7)]
    assert [one["id"] for frame in frames for one in frame["people"]] == [1] * 5
    with open(tmp_path / "out/poses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["id"], row["seconds"]) for row in rows][2] == ("4", "1", "0.32")


def test_interruption_keeps_what_is_done(predict, photos, tmp_path, monkeypatch, capsys):
    from keras_hourglass.cli.predict import Job

    count = Job._count

    def interrupted(self, result):
        if self.pictures == 2:
            raise KeyboardInterrupt
        return count(self, result)

    monkeypatch.setattr(Job, "_count", interrupted)
    assert predict(photos, "--save", "json,csv") == 130
    # The hidden one is what --resume goes on by.
    hidden = ".unfinished-predict.jsonl"
    assert names(tmp_path / "out") == [hidden, "one.json", "poses.csv", "three.json"]
    assert len((tmp_path / "out/poses.csv").read_text().splitlines()) == 3
    assert "interrupted" in capsys.readouterr().err


def test_addresses(predict, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(ALLOW_LOCAL, "1")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(photos))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        assert predict(f"{base}/one.png?size=2", f"{base}/none.png") == 1
        server.shutdown()
    assert names(tmp_path / "out") == ["one.json", "one.png"]
    assert "404" in capsys.readouterr().err
    assert predict("http://example.com/a.jpg", out="other") == 2
    assert "https only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--box", "1,2,3"], "x,y,w,h"),
        (["--box", "1,2,3,0"], "positive"),
        (["--box", "7,8,1,1"], "at least 2. Received: [7.0, 8.0, 1.0, 1.0]"),
        (["--box=1,2,3,4", "--boxes", "x.json"], "only one of"),
        (["--boxes", "none.json"], "none.json"),
        (["--save", "gif"], "images,json,csv,parquet,video"),
        (["--save", "video"], "needs a video"),
        (["--stack", "9"], "no such stack"),
        (["--every", "0"], "positive number of frames"),
        (["--whole", "--detect"], "only one of"),
        (["--engine", "abacus"], "abacus"),
        (["--threshold", "high"], "--threshold"),
    ],
)
def test_mistakes_end_in_one_line(words, reason, predict, photos, capsys):
    try:
        status = predict(photos / "one.png", *words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and reason in lines[0]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            "hourglass_tiny",
            "of this form: hourglass_tiny_people, hourglass_tiny_lsp, hourglass_tiny_synthetic. "
            "To train",
        ),
        ("hourglass_8s", "with weights: hourglass_tiny_people, "),
    ],
)
def test_a_model_without_weights(name, advice, photos, tmp_path, capsys):
    words = ["predict", str(photos / "one.png"), "--model", name, "--out", str(tmp_path / "out")]
    assert main(words) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"Received: {name}. " in line and advice in line
    assert f"model: {{preset: {name}, pretrained: false}}" in line


@pytest.mark.parametrize("source", ["none.jpg", "*.gif", "camera:97"])
def test_sources_that_are_not_there(source, predict, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert predict(source) == 2
    assert source.removeprefix("camera:") in capsys.readouterr().err


def test_an_empty_folder(predict, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty") == 2
    assert "no pictures" in capsys.readouterr().err


@pytest.fixture
def cut_off(monkeypatch):
    """Ends a run, as Ctrl-C does, after so many pictures; called without, no more."""

    def after(count=None):
        def stream(self, *args, **kwargs):
            for number, result in enumerate(whole(self, *args, **kwargs)):
                if number == count:
                    raise KeyboardInterrupt
                seen.append(result.name.rpartition("/")[2])
                yield result

        monkeypatch.setattr(Predictor, "stream", stream)
        return seen

    whole, seen = Predictor.stream, []
    return after


def test_a_run_that_was_cut_off_goes_on(predict, photos, cut_off, tmp_path, capsys):
    options = ("--save", "json,csv", "--whole")
    assert predict(photos, *options, out="unbroken") == 0
    out, expected = tmp_path / "out", tmp_path / "unbroken"
    seen = cut_off(1)
    assert predict(photos, *options) == 130
    assert "--resume" in capsys.readouterr().err
    assert len((out / "poses.csv").read_text().splitlines()) == 2
    # Cut off between a picture's file and its line: the file is written again.
    (out / "three.json").write_text("half of i")
    assert predict(photos, *options) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    cut_off()
    assert predict(photos, *options, "--resume") == 0
    assert "1 picture done, 2 to do" in capsys.readouterr().err
    assert sorted(seen) == ["one.png", "three.png", "two.jpg"]
    assert names(out) == names(expected)
    for name in names(out):
        assert (out / name).read_text() == (expected / name).read_text()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_falls_into_a_finaliser_is_not_lost(predict, photos, tmp_path, monkeypatch):
    class Pressed:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)  # Python drops what is raised here

    def stream(self, *args, **kwargs):
        for number, result in enumerate(whole(self, *args, **kwargs)):
            if number == 1:
                Pressed()
            yield result

    whole = Predictor.stream
    monkeypatch.setattr(Predictor, "stream", stream)
    before = signal.getsignal(signal.SIGINT)
    assert predict(photos, "--save", "json", "--whole") == 130
    assert names(tmp_path / "out") == [NAME, "one.json"]
    assert signal.getsignal(signal.SIGINT) is before


def test_resume_after_the_end_does_what_is_new(predict, photos, cut_off, tmp_path, capsys):
    options = ("--save", "json", "--whole", "--resume")
    assert predict(photos, *options) == 0  # nothing to go on with: a beginning
    seen = cut_off()
    write_image(photos / "zero.png", paint(90, 100, *POINTS))
    assert predict(photos, *options) == 0 and seen == ["zero.png"]
    assert names(tmp_path / "out") == ["one.json", "three.json", "two.json", "zero.json"]
    capsys.readouterr()
    # A table of all of them cannot be made of what is new.
    assert predict(photos, "--save", "json,csv", "--whole", "--resume") == 2
    assert "exists already" in capsys.readouterr().err
    assert len(names(tmp_path / "out")) == 4


def test_pictures_that_failed_are_tried_again(predict, photos, cut_off, tmp_path):
    (photos / "bad.png").write_bytes(b"no picture")
    cut_off(2)
    assert predict(photos, "--save", "csv", "--whole") == 130
    seen = cut_off()
    del seen[:]
    write_image(photos / "bad.png", paint(85, 100, *POINTS))
    assert predict(photos, "--save", "csv", "--whole", "--resume") == 0
    assert "bad.png" in seen and len(seen) == 3
    assert len((tmp_path / "out" / "poses.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--resume", "--overwrite"], "replaces nothing"),
        (["--resume", "--save", "sheet"], "one run's pictures"),
    ],
)
def test_what_cannot_go_on(words, reason, predict, photos, capsys):
    assert predict(photos, *words) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert reason in line


def test_names_of_pictures_do_not_command_the_terminal(predict, photos, capsys):
    # Names that set the title of the window and begin a line of their own.
    (photos / "a\x1b]0;title\x07.png").write_bytes(b"no picture")
    (photos / "b\x9b2J\nall is well.txt").write_text("no picture")
    assert predict(photos) == 1
    told = capsys.readouterr().err
    assert "a\\x1b]0;title\\x07.png" in told
    assert not set(told) & {"\x1b", "\x07", "\x9b"}
    assert not any(line.startswith("all is well") for line in told.splitlines())
