"""Names of pictures as tools on any machine write them."""

import os
import unicodedata

import hypothesis
import pytest
from hypothesis import strategies as st

from keras_hourglass.data import picture_paths
from keras_hourglass.data.picture_paths import PicturePaths


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"-")


def found(folder, name, *others, annotation="result.json", **options):
    """The path found for a name, relative to the folder; or what is wrong with it."""
    paths = PicturePaths(folder / annotation, names=[name, *others], **options)
    path, reason = paths.find(name)
    if path is not None:
        assert reason is None
        return os.path.relpath(path, folder) if os.path.isfile(path) else None
    return reason


@pytest.mark.parametrize(
    "name",
    [
        "photo 1.jpg",
        "images/photo 1.jpg",
        "./images/../images/photo 1.jpg",
        "/data/upload/1/photo 1.jpg",
        "images\\1/photo 1.jpg",
        "..\\..\\label-studio\\media\\upload\\4\\photo 1.jpg",
        "C:\\Users\\me\\photo 1.jpg",
        "C:/Users/me/photo 1.jpg",
        "\\\\server\\share\\photo 1.jpg",
        "file:///home/me/photo%201.jpg",
        "file:///C:/me/photo%201.jpg",
        "photo%201.jpg",
        "/data/local-files/?d=set/photo%201.jpg",
        "http://localhost:8080/data/local-files/?d=set%2Fphoto%201.jpg",
        "https://example.org/a/photo%201.jpg?token=abc",
        "s3://bucket/set/photo 1.jpg",
        "gs://bucket/photo 1.jpg",
        "coco/images/train2017/photo 1.jpg",
        "PHOTO 1.JPG",
        "3fa94c1d-photo 1.jpg",
        "data/upload/7/3fa94c1d-photo 1.jpg",
        "photo 1",
        "photo 1.jpeg",
        b"photo 1.jpg\0\0",
        " photo 1.jpg\n",
    ],
)
@pytest.mark.parametrize("place", ["images", "data", "", "images/train2017", "deep/er"])
def test_a_name_leads_to_the_only_picture_of_that_name(tmp_path, name, place):
    touch(tmp_path, os.path.join(place, "photo 1.jpg"), "images/other.jpg", "notes.txt")
    assert found(tmp_path, name, "other.jpg") == os.path.join(place, "photo 1.jpg")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_either_form_of_unicode(tmp_path, form):
    touch(tmp_path, unicodedata.normalize(form, "images/Größe.jpg"))
    for other in ("NFC", "NFD"):
        name = unicodedata.normalize(other, "Größe.jpg")
        assert unicodedata.normalize("NFC", found(tmp_path, name)) == "images/Größe.jpg"


@pytest.mark.parametrize(
    "annotation, picture",
    [
        ("annotations/person_keypoints_train.json", "images/train/a.jpg"),
        ("annotations/person_keypoints_train.json", "train/a.jpg"),
        ("annotations/person_keypoints_default.json", "images/default/a.jpg"),
        ("annotations/instances.json", "photographs/a.jpg"),
        ("labels.json", "data/a.jpg"),
        ("sub/labels.json", "images/a.jpg"),
        ("train/_annotations.coco.json", "train/a.jpg"),
    ],
)
def test_folders_of_tools(tmp_path, annotation, picture):
    touch(tmp_path, annotation, picture)
    assert found(tmp_path, "a.jpg", annotation=annotation) == picture


def test_the_end_of_the_path_tells_equal_names_apart(tmp_path):
    touch(tmp_path, "images/cam1/1.jpg", "images/cam2/1.jpg")
    names = ["/old/disk/cam1/1.jpg", "/old/disk/cam2/1.jpg"]
    assert [found(tmp_path, name, *names) for name in names] == [
        "images/cam1/1.jpg",
        "images/cam2/1.jpg",
    ]
    assert "of several" in found(tmp_path, "/old/disk/1.jpg")
    # The other camera's picture is not taken for one that is missing.
    (tmp_path / "images/cam2/1.jpg").unlink()
    assert "must stay inside" in found(tmp_path, *reversed(names))
    assert found(tmp_path, "cam2/1.jpg", "cam1/1.jpg") is None
    # Nor that of an upload for one without.
    touch(tmp_path, "images/3fa94c1d-x.jpg")
    assert found(tmp_path, "x.jpg") == "images/3fa94c1d-x.jpg"
    assert found(tmp_path, "x.jpg", "3fa94c1d-x.jpg") is None


def test_nothing_outside_is_followed(tmp_path):
    touch(tmp_path, "secret.jpg", "set/images/a.jpg", "set.jpg")
    for name in ("../secret.jpg", "images/../../secret.jpg", str(tmp_path / "secret.jpg"),
                 "/etc/passwd", f"file://{tmp_path}/secret.jpg"):  # fmt: skip
        assert "must stay inside" in found(tmp_path, name, annotation="set/result.json")
    assert found(tmp_path, "..%2Fsecret.jpg", annotation="set/result.json") is None
    inside = str(tmp_path / "set/images/a.jpg")
    assert found(tmp_path, inside, annotation="set/result.json") == "set/images/a.jpg"
    assert found(tmp_path, "../secret.jpg", annotation="set/result.json", images=tmp_path) == (
        "secret.jpg"
    )


def test_a_named_folder_is_the_only_one_looked_at(tmp_path):
    touch(tmp_path, "images/a.jpg", "elsewhere/deep/a.jpg")
    assert found(tmp_path, "a.jpg", images=tmp_path / "elsewhere") == "elsewhere/deep/a.jpg"
    assert found(tmp_path, "b.jpg", images=tmp_path / "elsewhere") is None


def test_a_missing_picture_is_named_where_it_should_be(tmp_path):
    touch(tmp_path, "images/a.jpg")
    paths = PicturePaths(tmp_path / "result.json", names=["a.jpg", "b.jpg"])
    assert paths.find("b.jpg") == (str(tmp_path / "images" / "b.jpg"), None)


@pytest.mark.parametrize("name", [None, 7, "", " ", "..", "/", "a\0b.jpg", [], {}, "x" * 5000])
def test_what_is_no_name(tmp_path, name):
    assert "is no file name" in found(tmp_path, name)


def test_a_folder_too_large_to_search_is_not_guessed_from(tmp_path, monkeypatch):
    touch(tmp_path, *(f"images/{number}.jpg" for number in range(9)))
    monkeypatch.setattr(picture_paths, "MAX_SEARCHED", 5)
    assert "must stay inside" in found(tmp_path, "/upload/3.jpg")
    assert found(tmp_path, "8.jpg") == "images/8.jpg"


def test_links_that_lead_back(tmp_path):
    touch(tmp_path, "images/deep/a.jpg")
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    assert found(tmp_path, "/upload/a.jpg") == "images/deep/a.jpg"


@hypothesis.given(st.text(alphabet="ab/\\.%:?d= 1ä", max_size=12))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_any_name_stays_inside(tmp_path, name):
    touch(tmp_path, "set/images/a", "set/b", "a", "b")
    path, reason = PicturePaths(tmp_path / "set" / "r.json", names=[name]).find(name)
    assert (path is None) != (reason is None)
    if path is not None:
        assert os.path.realpath(path).startswith(str(tmp_path / "set"))
