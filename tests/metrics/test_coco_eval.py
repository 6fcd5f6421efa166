"""COCO's average precision: that of pycocotools where it answers, an answer where it does not."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.metrics import average_precision, joint_sigmas
from keras_hourglass.metrics.oks import COCO_SIGMAS
from keras_hourglass.skeletons import COCO, LSP

pytest.importorskip("pycocotools")


def scene(rng, pictures=4, joints=17, categories=(1,)):
    """Annotations of a few people on each picture, some of them crowds or without joints, and
    results that find most of them, some badly, and somebody who is not there."""
    people, results = [], []
    for picture in range(3, 3 + pictures):
        for _ in range(rng.integers(0, 4)):
            place, size = rng.uniform(20, 500, 2), rng.uniform(20, 200)
            points = place + rng.uniform(0, size, (joints, 2))
            flags = rng.integers(0, 3, joints) * (rng.random() > 0.15)
            keypoints = np.column_stack([points * (flags[:, None] > 0), flags]).ravel()
            category = int(rng.choice(categories))
            people.append({
                "id": len(people) + 11, "image_id": picture, "category_id": category,
                "keypoints": keypoints.tolist(),
                "num_keypoints": int((flags > 0).sum()), "bbox": [*place.tolist(), size, size],
                "area": float(size**2 / 2), "iscrowd": int(rng.random() < 0.15),
            })  # fmt: skip
            if rng.random() < 0.85:
                moved = points + rng.normal(0, size / rng.choice([100, 25, 5]), points.shape)
                results.append(result(picture, category, moved, rng))
        if rng.random() < 0.5:
            stranger = rng.uniform(0, 500, (joints, 2))
            results.append(result(picture, int(rng.choice(categories)), stranger, rng))
    images = [{"id": picture, "width": 700, "height": 700} for picture in range(3, 3 + pictures)]
    truth = {"images": images, "annotations": people,
             "categories": [{"id": key, "name": f"kind {key}"} for key in categories]}  # fmt: skip
    return truth, results


def result(picture, category, points, rng):
    # Few different scores, so that the order of equal ones matters.
    keypoints = np.column_stack([points, np.ones(len(points))]).ravel().tolist()
    return {"image_id": picture, "category_id": category, "keypoints": keypoints,
            "score": float(rng.integers(1, 6) / 5)}  # fmt: skip


def by_pycocotools(truth, results):
    from pycocotools.coco import COCO as Dataset
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        dataset = Dataset()
        dataset.dataset = copy.deepcopy(truth)
        dataset.createIndex()
        found = dataset.loadRes(copy.deepcopy(results))
        evaluation = COCOeval(dataset, found, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.where(evaluation.stats < 0, np.nan, 100 * evaluation.stats)


def ours(tmp_path_factory, truth, results):
    path = tmp_path_factory / "truth.json"
    path.write_text(json.dumps(truth))
    return np.array(list(average_precision(path, results).values()))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("truth")


@pytest.mark.slow
@given(st.integers(0, 10**6), st.sampled_from([(1,), (7,), (1, 4)]))
@settings(max_examples=60, deadline=None)
def test_valid_files_give_what_pycocotools_gives(place, seed, categories):
    truth, results = scene(np.random.default_rng(seed), categories=categories)
    if not any(person["num_keypoints"] for person in truth["annotations"]) or not results:
        return
    used = {person["category_id"] for person in truth["annotations"]}
    results = [one for one in results if one["category_id"] in used]
    if results:
        np.testing.assert_allclose(ours(place, truth, results), by_pycocotools(truth, results),
                                   rtol=0, atol=1e-9)  # fmt: skip


def perfect(joints=17, names=None):
    """Two people on two pictures, found exactly."""
    rng = np.random.default_rng(5)
    people, results = [], []
    for picture in (1, 2):
        points = rng.uniform(50, 150, (joints, 2)).round(2)
        keypoints = np.column_stack([points, np.full(joints, 2)]).ravel().tolist()
        people.append({"id": picture, "image_id": picture, "category_id": 1, "area": 5000.0,
                       "keypoints": keypoints, "num_keypoints": joints, "iscrowd": 0,
                       "bbox": [40, 40, 120, 120]})  # fmt: skip
        results.append({"image_id": picture, "category_id": 1, "score": 0.9,
                        "keypoints": list(keypoints)})  # fmt: skip
    category = {"id": 1, "name": "person"} | ({"keypoints": list(names)} if names else {})
    images = [{"id": picture, "file_name": f"{picture}.jpg"} for picture in (1, 2)]
    return {"images": images, "annotations": people, "categories": [category]}, results


def change(entries, **values):
    for entry in entries:
        for key, value in values.items():
            entry[key] = value(entry) if callable(value) else value


def lose(entries, key):
    for entry in entries:
        del entry[key]


NAN = float("nan")
WHOLE = {
    "annotation 0": lambda t, r: change(t["annotations"], id=lambda one: one["id"] - 1),
    "annotations without ids": lambda t, r: lose(t["annotations"], "id"),
    "one id for all": lambda t, r: change(t["annotations"], id=5),
    "ids as text": lambda t, r: change(t["annotations"], id=lambda one: str(one["id"])),
    "no areas": lambda t, r: lose(t["annotations"], "area"),
    "no boxes": lambda t, r: lose(t["annotations"], "bbox"),
    "boxes of nothing": lambda t, r: change(t["annotations"], bbox=[]),
    "no iscrowd": lambda t, r: lose(t["annotations"], "iscrowd"),
    "iscrowd as text": lambda t, r: change(t["annotations"], iscrowd="0"),
    "no num_keypoints": lambda t, r: lose(t["annotations"], "num_keypoints"),
    "no scores": lambda t, r: lose(r, "score"),
    "scores as text": lambda t, r: change(r, score="0.5"),
    "scores of no number": lambda t, r: change(r, score=NAN),
    "pictures as text": lambda t, r: change(t["images"], id=lambda one: str(one["id"])),
    "results' pictures as text": lambda t, r: change(r, image_id=lambda one: str(one["image_id"])),
    "results' pictures as fractions": lambda t, r: change(
        r, image_id=lambda one: float(one["image_id"])
    ),
    "category as text": lambda t, r: change(t["annotations"], category_id="1"),
    "results without category": lambda t, r: lose(r, "category_id"),
    "no categories": lambda t, r: t.pop("categories"),
    "category 7": lambda t, r: [change(part, **{key: 7}) for part, key in (
        (t["categories"], "id"), (t["annotations"], "category_id"), (r, "category_id"))],
    "a category of boxes": lambda t, r: (
        t["categories"].append({"id": 9, "name": "ball"}),
        t["annotations"].append({"id": 8, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]}),
    ),
    "NaN where nothing is labelled": lambda t, r: change(
        t["annotations"], keypoints=lambda one: [NAN, NAN, 0, *one["keypoints"][3:]]
    ),
    "visibility 3": lambda t, r: change(
        t["annotations"], keypoints=lambda one: [*one["keypoints"][:2], 3, *one["keypoints"][3:]]
    ),
    "a box with one result": lambda t, r: r[0].update(bbox=[1, 2, 90, 90]),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_perfect_results_score_100_whatever_is_left_out(place, name):
    truth, results = perfect()
    WHOLE[name](truth, results)
    values = dict(zip(("AP", "AP50", "AP75", "APM"), ours(place, truth, results), strict=False))
    assert values["AP"] == values["AP50"] == values["AP75"] == pytest.approx(100)


@pytest.mark.parametrize("joints, names", [(14, LSP.joints), (4, None), (1, ["tip"]), (20, None)])
def test_other_numbers_of_joints_have_sigmas_of_their_own(place, joints, names):
    truth, results = perfect(joints, names)
    assert ours(place, truth, results)[0] == pytest.approx(100)
    # One joint is off by as much as makes a similarity of exp(-1/2): the others are perfect.
    truth["categories"][0]["sigmas"] = [0.1] * joints
    for one in results:
        one["keypoints"][0] += 2 * 0.1 * np.sqrt(5000)
    similarity = (joints - 1 + np.exp(-0.5)) / joints
    wanted = 100 * np.mean([similarity >= threshold for threshold in np.arange(0.5, 1, 0.05)])
    assert ours(place, truth, results)[0] == pytest.approx(wanted)


def test_an_area_that_nobody_measured_is_053_of_the_box(place):
    """Off by 11.15 px: exp(-11.15² / (8 · 0.53 · 100 · 100 · 0.067²)) = 0.5205."""
    truth, results = perfect(1, ["tip"])
    for one in truth["annotations"]:
        one.pop("area")
        one["bbox"] = [0, 0, 100, 100]
    for one in results:
        one["keypoints"][0] += 11.15
    # Of the thresholds 0.5, 0.55, … 0.95 the first only.
    assert ours(place, truth, results)[:2] == pytest.approx([10, 100])


def test_categories_with_different_joints_count_alike(place):
    truth, results = perfect()
    others, found = perfect(4, ["nose", "tail", "left_paw", "right_paw"])
    change(others["categories"], id=2)
    change([*others["annotations"], *found], category_id=2)
    change(others["annotations"], id=lambda one: one["id"] + 10)
    truth["annotations"] += others["annotations"]
    truth["categories"] += others["categories"]
    assert ours(place, truth, [*results, *found])[0] == pytest.approx(100)
    assert ours(place, truth, results)[0] == pytest.approx(50)


@pytest.mark.parametrize(
    "bend, message",
    [
        (lambda t, r: change(r, image_id=999), "image_id 999 in result 1"),
        (lambda t, r: r[1].update(image_id="gone"), "image_id gone in result 2"),
        (lambda t, r: r[1].pop("image_id"), "image_id None in result 2"),
        (lambda t, r: change(r, category_id=5), "with joints: 1. Received: category_id 5"),
        (lambda t, r: r[0]["keypoints"].pop(), "needs 51 finite numbers. Received: 50"),
        (lambda t, r: r[0]["keypoints"].__setitem__(0, NAN), "finite numbers"),
        (lambda t, r: r[0].update(keypoints=["a"] * 51), "must be numbers"),
        (lambda t, r: r[0].update(keypoints=[[[1]]]), "list of numbers"),
        (lambda t, r: r[0].update(keypoints=None), "as result 1"),
        (lambda t, r: r.append("x"), "as result 3"),
        (lambda t, r: t["annotations"][1].update(image_id=9), "image_id of annotation 2"),
        (lambda t, r: t["annotations"][1].update(category_id=9), "category_id of annotation 2"),
        (lambda t, r: t["annotations"][1]["keypoints"].append(1), "52 numbers in annotation 2"),
        (lambda t, r: t["annotations"][0]["keypoints"].__setitem__(1, NAN), "annotation 1"),
        (lambda t, r: t.update(annotations=[]), "no keypoints"),
        (lambda t, r: t.update(images=None), "'images'"),
        (lambda t, r: t.update(categories={}), "'categories'"),
        (lambda t, r: t["categories"][0].update(sigmas=[1, 2]), "sigma for each of 17"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(place, bend, message):
    truth, results = perfect()
    bend(truth, results)
    with pytest.raises(DataError, match=message) as caught:
        ours(place, truth, results)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(place))


def test_files_that_hold_something_else(place):
    (place / "truth.json").write_text("[]")
    with pytest.raises(DataError, match="must hold an object"):
        average_precision(place / "truth.json", [{}])
    (place / "results.json").write_text("{}")
    with pytest.raises(UserError, match="at least one result"):
        average_precision(place / "truth.json", place / "results.json")


def test_sigmas_of_joints_by_name():
    np.testing.assert_array_equal(joint_sigmas(COCO.joints), COCO_SIGMAS)
    spelled = [joint.replace("left_", "L ").replace("right_", "R ") for joint in COCO.joints]
    np.testing.assert_array_equal(joint_sigmas(spelled), COCO_SIGMAS)
    half_a_pair = joint_sigmas(["nose", "left_ear", "x", "x"])
    np.testing.assert_allclose(half_a_pair, [0.026, 0.035, 0.067, 0.067])
    assert round(float(COCO_SIGMAS.mean()), 3) == 0.067
