"""SLEAP's files, written by its own library: pictures, a video, frames inside the file."""

import sys

import cv2
import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data.load import load_records, open_image
from keras_hourglass.errors import DataError, UserError

sio = pytest.importorskip("sleap_io")

POINTS = np.array([[10, 20], [np.nan, np.nan], [30, 40], [50, 60.0]])
LEVELS = (40, 120, 200)  # of grey, a frame each


@pytest.fixture(scope="module")
def skeleton():
    return sio.Skeleton(
        ["nose", "oreille G", "oreille D", "tail"],
        edges=[("nose", "tail")],
        symmetries=[("oreille G", "oreille D")],
        name="mouse",
    )


def pictures(folder):
    folder.mkdir(exist_ok=True)
    for number, level in enumerate(LEVELS):
        cv2.imwrite(str(folder / f"f{number}.png"), np.full((64, 96, 3), level, np.uint8))
    return sio.Video.from_filename([str(folder / f"f{number}.png") for number in range(3)])


def film(path):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for level in LEVELS:
        writer.write(np.full((64, 96, 3), level, np.uint8))
    writer.release()
    return sio.Video.from_filename(str(path))


def save(path, video, skeleton, points=POINTS, predicted=False, **options):
    """Two animals in the first frame, one in the third."""
    kind = sio.PredictedInstance if predicted else sio.Instance
    frames = [
        sio.LabeledFrame(
            video=video,
            frame_idx=frame,
            instances=[kind.from_numpy(points + shift, skeleton=skeleton) for shift in shifts],
        )
        for frame, shifts in ((0, (0, 1)), (2, (2,)))
    ]
    sio.Labels(frames, videos=[video], skeletons=[skeleton]).save(str(path), **options)
    return path


def check(records):
    assert records.skeleton.joints == ("nose", "oreille_g", "oreille_d", "tail")
    assert records.skeleton.flip_order == (0, 2, 1, 3) and records.skeleton.name == "mouse"
    assert records.skeleton.limbs == (("nose", "tail"),)
    assert records.joints[2].tolist() == [[12, 22], [0, 0], [32, 42], [52, 62]]
    assert records.visibility.tolist() == [[2, 0, 2, 2]] * 3
    assert records.boxes[0].tolist() == [30, 40, 50]
    assert records.ids.tolist() == ["0/0", "0/0#2", "0/2"]
    assert records.extra["image_number"].tolist() == [1, 1, 2]
    assert not records.notes
    levels = [round(float(open_image(path).mean())) for path in records.images]
    assert np.abs(np.array(levels) - [40, 40, 200]).max() <= 2
    assert open_image(records.images[0]).shape == (64, 96, 3)


def test_a_list_of_pictures(tmp_path, skeleton):
    path = save(tmp_path / "a.slp", pictures(tmp_path / "p"), skeleton)
    records = load_records(f"slp:{path}")
    check(records)
    assert records.images[2] == str(tmp_path / "p" / "f2.png")


def test_a_video(tmp_path, skeleton):
    path = save(tmp_path / "a.slp", film(tmp_path / "v.avi"), skeleton)
    records = load_records(f"slp:{path}")
    check(records)
    assert records.images[2] == f"sleap:{path}|{tmp_path / 'v.avi'}@0/2"
    # Moved with its file, as to another machine; or to another folder.
    (tmp_path / "new").mkdir()
    for name in ("a.slp", "v.avi"):
        (tmp_path / name).rename(tmp_path / "new" / name)
    check(load_records(f"slp:{tmp_path / 'new' / 'a.slp'}"))
    (tmp_path / "videos").mkdir()
    (tmp_path / "new" / "v.avi").rename(tmp_path / "videos" / "v.avi")
    with pytest.raises(DataError, match="None of the pictures"):
        load_records(f"slp:{tmp_path / 'new' / 'a.slp'}")
    check(load_records(f"slp:{tmp_path / 'new' / 'a.slp'}", images=tmp_path / "videos"))


def test_frames_inside_the_file(tmp_path, skeleton):
    path = save(tmp_path / "a.pkg.slp", pictures(tmp_path / "p"), skeleton, embed=True)
    for number in range(3):
        (tmp_path / "p" / f"f{number}.png").unlink()
    records = load_records(f"slp:{path}")
    check(records)
    assert records.images[2] == f"sleap:{path}@0/2"


def test_every_command_of_data_takes_it(tmp_path, skeleton, capsys):
    path = save(tmp_path / "a.slp", film(tmp_path / "v.avi"), skeleton)
    assert main(["data", "check", str(path), "--out", str(tmp_path / "c")]) == 0
    assert "3 people on 2 pictures, 4 joints (slp)" in capsys.readouterr().out
    assert main(["data", "stats", f"slp:{path}"]) == 0
    assert main(["data", "show", f"slp:{path}#1-1", "--out", str(tmp_path / "s.png")]) == 0
    assert main(["data", "convert", f"slp:{path}", "--out", str(tmp_path / "t")]) == 0
    assert len(load_records(f"tfrecords:{tmp_path / 't'}")) == 3


def test_predictions_are_no_labels(tmp_path, skeleton):
    path = save(tmp_path / "a.slp", pictures(tmp_path / "p"), skeleton, predicted=True)
    with pytest.raises(DataError, match="3 predictions"):
        load_records(f"slp:{path}")


def test_one_spot_gets_the_whole_frame(tmp_path, skeleton):
    points = np.full((4, 2), np.nan)
    points[0] = (5, 6)
    path = save(tmp_path / "a.slp", pictures(tmp_path / "p"), skeleton, points)
    records = load_records(f"slp:{path}")
    assert records.boxes[0].tolist() == [47.5, 31.5, 96]
    assert "the whole frame" in records.remarks[0]


def test_what_is_no_slp_is_named(tmp_path):
    path = tmp_path / "a.slp"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="Cannot read the file of SLEAP's labels .*a.slp"):
        load_records(f"slp:{path}")
    with pytest.raises(DataError, match="No SLEAP file there"):
        load_records(f"slp:{tmp_path / 'b.slp'}")


def test_without_the_library(tmp_path, monkeypatch):
    (tmp_path / "a.slp").write_bytes(b"-")
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with pytest.raises(UserError, match=r"pip install .keras_hourglass\[sleap\]"):
        load_records(f"slp:{tmp_path / 'a.slp'}")
