"""Generated figures: exact joints, determinism, variety, speed, and what is written to disk."""

import json

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data import figures
from keras_hourglass.data.figures import drawing as figure_drawing
from keras_hourglass.data.figures import pose as figure_pose
from keras_hourglass.data.figures import scene as figure_scene
from keras_hourglass.data.figures.pen import sample_outfit
from keras_hourglass.data.load import load_records, open_image
from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import LSP


def test_a_figure_depends_on_seed_and_index_alone():
    picture = figures.render(5, 17, size=48)
    assert np.array_equal(picture, figures.render(5, 17, size=48))
    assert not np.array_equal(picture, figures.render(5, 18, size=48))
    assert not np.array_equal(picture, figures.render(6, 17, size=48))
    alone, _ = figures.joints(5, [17])
    among, _ = figures.joints(5, [3, 17, 900])
    np.testing.assert_array_equal(alone[0], among[1])


def test_joints_scale_with_the_picture_about_its_outer_edge():
    small, _ = figures.joints(2, range(4), size=64)
    large, _ = figures.joints(2, range(4), size=192)
    np.testing.assert_allclose((small + 0.5) * 3 - 0.5, large)


def test_joints_lie_on_what_is_drawn():
    """A figure with limbs of one pure colour and nothing around it: joints are of that colour."""
    rng = np.random.default_rng(0)
    figures = figure_pose.pose_figures(
        rng.random((12, figure_pose.NUM_UNIFORM)), rng.standard_normal((12, figure_pose.NUM_NORMAL))
    )
    size, hits, inside = 200, 0, 0
    for person in range(12):
        canvas = np.zeros((size, size, 3), np.uint8)
        light = np.array([0.0, -1.0])
        figure_drawing.FigurePainter(canvas, figures, person, sample_outfit(rng), light).draw()
        places = np.round(figures.joints[person] * size - 0.5).astype(int)
        seen = ((places >= 0) & (places < size)).all(axis=1)
        # The top of the head is on its outline.
        seen[LSP.index("head_top")] = False
        x, y = places[seen].T
        hits += (canvas[y, x].max(axis=1) > 0).sum()
        inside += seen.sum()
    assert inside > 100 and hits == inside


def test_every_limb_has_its_length_before_perspective():
    rng = np.random.default_rng(1)
    figures = figure_pose.pose_figures(
        rng.random((200, figure_pose.NUM_UNIFORM)),
        rng.standard_normal((200, figure_pose.NUM_NORMAL)),
    )
    for start, end, length in (
        ("right_hip", "right_knee", figure_pose.THIGH),
        ("left_hip", "left_knee", figure_pose.THIGH),
        ("right_elbow", "right_wrist", figure_pose.FOREARM),
    ):
        apart = figures.space[:, LSP.index(start)] - figures.space[:, LSP.index(end)]
        ratio = np.linalg.norm(apart, axis=1) / length
        assert 0.75 < ratio.min() and ratio.max() < 1.13


def test_rotations_turn_the_way_the_body_does():
    quarter = np.array([np.pi / 2])
    # About x: up goes forward. About y: forward goes left. About z: left goes up.
    for axis, start, end in (("x", 1, 2), ("y", 2, 0), ("z", 0, 1)):
        turned = figure_pose._turn(axis, quarter)[0] @ np.eye(3)[start]
        np.testing.assert_allclose(turned, np.eye(3)[end], atol=1e-12)


def test_variety_and_visibility():
    places, visibility = figures.joints(11, range(3000), size=100)
    left, right = (LSP.index(f"{side}_shoulder") for side in ("left", "right"))
    frontal = places[:, left, 0] > places[:, right, 0]
    assert 0.35 < frontal.mean() < 0.75  # seen from the front and from behind
    head, hip = LSP.index("head_top"), LSP.index("left_hip")
    upside_down = places[:, head, 1] > places[:, hip, 1]
    assert 0.02 < upside_down.mean() < 0.2
    shares = np.bincount(visibility.ravel(), minlength=3) / visibility.size
    assert 0.005 < shares[0] < 0.1 and 0.03 < shares[1] < 0.25
    outside = ((places < -0.5) | (places >= 99.5)).any(axis=-1)
    np.testing.assert_array_equal(outside, visibility == 0)


def test_visible_face_means_frontal():
    """Left and right can be told apart: who shows the front has the left shoulder on the right."""
    rng = np.random.default_rng(3)
    figures = figure_pose.pose_figures(
        rng.random((500, figure_pose.NUM_UNIFORM)),
        rng.standard_normal((500, figure_pose.NUM_NORMAL)),
    )
    chest = figures.frames["chest"]
    upright = chest[:, 1, 1] > 0.8
    faces_us = chest[upright, 2, 2] > 0.3
    apart = figures.space[upright, LSP.index("left_shoulder"), 0]
    apart = apart - figures.space[upright, LSP.index("right_shoulder"), 0]
    assert (apart[faces_us] > 0).all() and faces_us.sum() > 100


def test_things_in_front_hide_joints():
    rng = np.random.default_rng(4)
    figures = figure_pose.pose_figures(
        rng.random((3, figure_pose.NUM_UNIFORM)), rng.standard_normal((3, figure_pose.NUM_NORMAL))
    )
    nothing = np.zeros((3, 2, 6))
    x, y = figures.joints[0, 13]
    board = nothing.copy()
    board[:, 0] = (1, 0, x, y, 0.01, 0.01)
    before = figure_scene.joint_visibility(figures, nothing + [0, 0, 0, 0, 1, 1])
    board[:, 1, 4:] = 1
    after = figure_scene.joint_visibility(figures, board)
    assert before[0, 13] == 2 and after[0, 13] == 1
    far = np.abs(figures.joints[0] - (x, y)).max(axis=1) > 0.01
    np.testing.assert_array_equal(before[0, far], after[0, far])


def test_records_draw_their_pictures_when_asked():
    records = load_records("synthetic:6@9x80#3-4")
    assert records.images.tolist() == ["synthetic:80x/9/2", "synthetic:80x/9/3"]
    assert np.array_equal(open_image(records.images[1]), figures.render(9, 3, 80))
    assert records.skeleton == LSP
    labelled = records.visibility[0] > 0
    low, high = records.joints[0][labelled].min(axis=0), records.joints[0][labelled].max(axis=0)
    assert records.boxes[0, 2] == pytest.approx((high - low).max() * 1.25)


@pytest.mark.parametrize("spec", ["synthetic:0@1", "synthetic:5@1x4", "synthetic:5@1x9999"])
def test_numbers_out_of_range(spec):
    with pytest.raises(UserError, match="num of at least 1"):
        load_records(spec)


def test_synthesize_writes_what_synthetic_reads(tmp_path, capsys):
    folder = tmp_path / "figures"
    options = ["synthesize", "--out", str(folder), "--num", "7", "--seed", "3", "--size", "96"]
    assert main(options) == 0
    assert "7 figures" in capsys.readouterr().out
    written, generated = (load_records(s) for s in (f"synthetic:{folder}", "synthetic:7@3x96"))
    labelled = generated.visibility > 0
    np.testing.assert_array_equal(written.visibility, generated.visibility)
    np.testing.assert_allclose(written.joints[labelled], generated.joints[labelled], atol=6e-4)
    np.testing.assert_allclose(written.boxes, generated.boxes, atol=2e-3)
    photo, drawn = open_image(written.images[2]), open_image(generated.images[2])
    assert np.abs(photo.astype(int) - drawn).mean() < 6  # JPEG
    content = json.loads((folder / "person_keypoints.json").read_text())
    assert content["categories"][0]["keypoints"] == list(LSP.joints)
    assert [entry["num_keypoints"] for entry in content["annotations"]] == (
        labelled.sum(axis=1).tolist()
    )


def test_synthesize_refuses_a_folder_with_content(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    options = ["synthesize", "--out", str(tmp_path), "--num", "1", "--seed", "3"]
    assert main(options) == 2
    error = capsys.readouterr().err.strip()
    assert "--overwrite" in error and "\n" not in error
    assert main([*options, "--overwrite"]) == 0
    assert (tmp_path / "mine.txt").read_text() == "precious"
