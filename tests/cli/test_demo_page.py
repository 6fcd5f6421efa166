"""The demo page: what it calls, what is served, and in a real browser with real clicks."""

import contextlib
import json
import pathlib
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from colour_engine import paint
from networks import save_untrained

from keras_hourglass.cli import main
from keras_hourglass.cli.page_results import Demo, _numbered, hint_of
from keras_hourglass.errors import UserError, optional
from keras_hourglass.io.images import write_image
from keras_hourglass.prediction.encoding import open_encoder
from keras_hourglass.prediction.picture_poses import PicturePoses
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.skeletons import get_skeleton

POINTS = ((40, 30), (70, 60), (90, 20))
TINY = "hourglass_tiny_lsp"
PATIENCE = 120_000  # ms, on a machine that is busy


def needs(name):
    """A package that may be missing, or there and broken."""
    try:
        return optional(name)
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_image(path, paint(80, 110, *POINTS))
    return str(path)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Seven frames of a generated figure that walks to the right."""
    from keras_hourglass.data.figures import render

    path = tmp_path_factory.mktemp("film") / "film.mp4"
    figure = render(7, 27, 200)
    encoder = open_encoder(path, (240, 200), 10.0)
    for shift in range(0, 35, 5):
        frame = np.full((200, 240, 3), 90, np.uint8)
        frame[:, shift : shift + 200] = figure
        encoder.write(frame)
    encoder.close()
    return str(path)


@pytest.mark.slow
def test_predict(model, photo, tmp_path):
    demo = Demo([model], tmp_path)
    assert demo.stacks(model) == [2, 1] and demo.about(model) == ""
    answer = demo.predict(photo, " 10, 5, 40,60 ", model, "1", False)
    assert " ms**" in answer.facts and "110×80 pixels" in answer.facts
    document = json.loads(answer.document)
    [person] = document["people"]
    assert person["box"] == [10, 5, 40, 60] and document["image"] == "photo.png"
    text, painted = map(pathlib.Path, answer.files)
    assert json.loads(text.read_text()) == document
    assert cv2.imread(str(painted)).shape == (80, 110, 3) and str(painted) == answer.painted
    assert painted.name == "photo-poses.jpg" and tmp_path in painted.parents
    assert [label.split()[0] for _, label in answer.tiles] == ["input", *document["keypoint_names"]]
    document = json.loads(demo.predict(photo, "", model, None, True).document)
    assert document["people"][0]["box"] == [0, 0, 110, 80]


@pytest.mark.slow
def test_examples_and_heatmaps_of_each_person(tmp_path):
    demo = Demo([TINY], tmp_path)
    one, three, doubtful = demo.examples()
    answer = demo.predict(one)
    assert answer.people == 1 and answer.hint == "" and "14 of 14 joints" in answer.facts
    first, second = (demo.predict(three, person=person) for person in (1, 2))
    assert first.people == second.people == 3
    assert "· 3 people · of the surest 14 of 14 joints present, mean score" in first.facts
    assert "of the surest" not in answer.facts
    # Nobody is followed in a photo: the numbers are the picture's, by which heatmaps are chosen.
    assert not any("id" in person for person in json.loads(first.document)["people"])
    assert (first.person, second.person) == (1, 2)
    assert demo.predict(three, person=9).person == 3
    assert not np.array_equal(first.tiles[0][0], second.tiles[0][0])
    # Each map is as bright as it can be, however low.
    assert all(tile.max() > 200 for tile, _ in first.tiles)
    assert "guess" in demo.predict(doubtful).hint


def test_people_are_numbered_where_heatmaps_are_chosen_by_number():
    picture = np.full((120, 240, 3), 90, np.uint8)
    people = [_pose(0.5, 14, side) for side in (30.0, 60.0)]
    several = _numbered(PicturePoses("a.jpg", people, picture))
    assert several.ids == [1, 2] and [pose.id for pose in people] == [None, None]
    assert (several.draw() != PicturePoses("a.jpg", people, picture).draw()).any()
    for few in (people[:1], []):
        assert _numbered(PicturePoses("a.jpg", few, picture)).ids == [None] * len(few)


def test_the_best_small_model_comes_first():
    models = Demo().models
    assert models[0] == "hourglass_tiny_people" and TINY in models
    assert not any("detector" in name for name in models)  # it finds no joints
    assert "PCK@0.2` 59.8 %" in Demo().about(models[0])


@pytest.mark.slow
def test_results_do_not_pile_up(model, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_hourglass.cli.page_results._RESULTS", 2)
    demo = Demo([model], tmp_path)
    answers = [demo.predict(photo, "", model, 1, False) for _ in range(3)]
    there = [pathlib.Path(answer.painted).exists() for answer in answers]
    assert there == [False, True, True]


def _pose(score, present, side=200.0):
    skeleton = get_skeleton("lsp")
    flags = np.arange(skeleton.num_joints) < present
    points = np.linspace((0, 0), (side, side), skeleton.num_joints)
    scores = np.full(skeleton.num_joints, score)
    return Pose(points, scores, (0, 0, side, side), skeleton, flags, sure=score > 0.2)


@pytest.mark.parametrize(
    ("poses", "alone", "said"),
    [
        ([], False, "Nobody was found."),
        ([_pose(0.5, 14)], False, ""),
        ([_pose(0.5, 14)], True, "all of it is taken for one"),
        ([_pose(0.1, 0)], True, "nothing is drawn"),
        ([_pose(0.1, 9), _pose(0.1, 9)], False, "no skeleton is sure"),
        ([_pose(0.5, 14), _pose(0.1, 9)], False, "1 of 2 skeletons are not sure"),
        ([_pose(0.5, 8)], False, "This person shows few joints"),
        ([_pose(0.5, 8), _pose(0.5, 14)], False, "1 of 2 shows few joints"),
        ([_pose(0.5, 14, 63)], False, "smaller than 64 pixels"),
        ([_pose(0.5, 14, 64)], False, ""),
    ],
)
def test_hints(poses, alone, said):
    found = hint_of(PicturePoses("a.jpg", poses, alone=alone), (128, 128))
    assert said in found and bool(said) == bool(found)


@pytest.mark.slow
def test_follow(film, tmp_path, monkeypatch):
    demo, steps = Demo([TINY], tmp_path), []
    answer = demo.follow(film, every=3, progress=lambda *step: steps.append(step))
    assert steps == [(done, 7) for done in range(1, 8)]
    assert "7 frames" in answer.facts and "1 person followed" in answer.facts
    video, text, table = map(pathlib.Path, answer.files)
    assert str(video) == answer.painted
    frames = json.loads(text.read_text())["frames"]
    assert len(frames) == 7 and len(table.read_text().splitlines()) == 8
    assert "film.mp4,6," in table.read_text()
    monkeypatch.setattr("keras_hourglass.cli.page_results.MAX_FRAMES", 4)
    answer = demo.follow(film)
    assert "4 frames" in answer.facts and "Only the first 4 frames" in answer.hint


@pytest.mark.slow
def test_mistakes(model, photo, film, tmp_path):
    demo = Demo([model], tmp_path)
    for arguments, reason in (
        ((None, "", model, None, True), "photo first"),
        ((photo, "1,2,3", model, None, True), "A box is"),
        ((photo, "left", model, None, True), "A box is"),
        ((photo, "", "/etc/passwd", None, True), "This page offers"),
        ((photo, "", model, 9, True), "no such stack"),
    ):
        with pytest.raises(UserError, match=reason):
            demo.predict(*arguments)
    for arguments, reason in (
        ((None,), "video first"),
        ((photo,), "A video ends in"),
        ((film, "/etc/passwd"), "This page offers"),
        ((film, model, True, 0), "`every` must be"),
    ):
        with pytest.raises(UserError, match=reason):
            demo.follow(*arguments)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 4000)
    with pytest.raises(UserError, match="cannot be opened"):
        demo.follow(str(broken))
    with pytest.raises(UserError, match="needs a model"):
        Demo([])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page, served."""
    needs("gradio")
    from keras_hourglass.cli import demo_page
    from keras_hourglass.cli.page_guard import errors_in_one_line

    with demo_page._own_folder() as folder, errors_in_one_line():
        page, options = demo_page.build_page([TINY, "hourglass_tiny_synthetic"], (), folder)
        _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **options)
        try:
            yield address.rstrip("/")
        finally:
            page.close(verbose=False)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("Cannot find empty port"), "Choose another --port or --host"),
        (ValueError("When localhost is not accessible, share"), "reachable from this machine"),
    ],
)
def test_a_page_that_cannot_be_served(error, said, monkeypatch, capsys):
    from keras_hourglass.cli import demo_page

    class Page:
        def launch(self, **options):
            assert options["server_port"] == 7999 and options["quiet"]
            raise error

    monkeypatch.setattr(demo_page, "build_page", lambda *_: (Page(), {}))
    monkeypatch.setattr(demo_page, "errors_in_one_line", contextlib.nullcontext)
    assert main(["demo-page", "--port", "7999"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_uploads_and_results_are_erased(monkeypatch):
    import os

    from keras_hourglass.cli.demo_page import _own_folder

    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    with _own_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == folder and os.path.isdir(folder)
        pathlib.Path(folder, "photo.jpg").write_bytes(b"somebody")
    assert os.environ["GRADIO_TEMP_DIR"] == "elsewhere" and not os.path.exists(folder)
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    with _own_folder():
        pass
    assert "GRADIO_TEMP_DIR" not in os.environ


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """A PNG of 250 KB that unpacks to 1.6 billion pixels."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.png"
    side = 40_000

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = zlib.compress(bytes((1 + side // 8) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return str(path)


def _called(client, address, name, values):
    """What an event of the page answers: the kind of its end, and its data."""
    started = client.post(f"{address}/gradio_api/call/{name}", json={"data": values})
    assert started.status_code == 200, started.text
    event = started.json()["event_id"]
    answer = client.get(f"{address}/gradio_api/call/{name}/{event}").text
    kinds = [line.removeprefix("event: ") for line in answer.splitlines() if "event: " in line]
    data = [line.removeprefix("data: ") for line in answer.splitlines() if "data: " in line]
    return kinds[-1], json.loads(data[-1])


def _uploaded(client, address, path):
    with open(path, "rb") as file:
        answer = client.post(f"{address}/gradio_api/upload", files={"files": file})
    assert answer.status_code == 200, answer.text
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def _most_memory():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    pytest.skip("no peak of memory here")


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # Gradio's own
def test_served_to_itself_alone_and_without_bombs(address, photo, bomb, tmp_path, capfd, caplog):
    import httpx

    with httpx.Client(timeout=120) as client:
        for headers in (
            {"host": "stranger.example"},
            {"origin": "http://stranger.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        ):
            for path in ("/", "/config", "/gradio_api/info", "/theme.css"):
                answer = client.get(address + path, headers=headers)
                assert answer.status_code == 403 and "answers to it" in answer.json()["error"]
        assert client.get(f"{address}/monitoring").status_code == 403
        page = client.get(address)
        assert page.status_code == 200 and "default-src 'self'" in str(page.headers)
        long = b" " * (2**20 + 1)  # more than numbers and names take
        assert client.post(f"{address}/gradio_api/call/predict", content=long).status_code == 413
        # Everything that the person sees is said in words, and nothing in tracebacks.
        good = _uploaded(client, address, photo)
        assert _called(client, address, "predict", [good, "", TINY, 2, True])[0] == "complete"
        before = _most_memory()
        for values, reason in (
            ([_uploaded(client, address, bomb), "", TINY, 2, True], "at most 50,000,000 pixels"),
            ([{**good, "url": "data:image/png;base64,AAAA", "path": ""}, "", TINY, 2, True], ""),
            ([{**good, "path": "/etc/hostname"}, "", TINY, 2, True], ""),
            ([good, "left", TINY, 2, True], "A box is"),
            ([good, "", "/etc/passwd", 2, True], "not in the list"),
            ([good, "", TINY, 7, True], "not in the list"),
            ([good, "", TINY], ""),
            ([None, "", TINY, 2, True], "photo first"),
            ([3, {}, [], None, "x"], ""),
        ):
            kind, said = _called(client, address, "predict", values)
            assert kind == "error" and reason in json.dumps(said), (values, kind, said)
        assert _most_memory() - before < 200
        text = tmp_path / "text.mp4"
        text.write_text("no film")
        content = {"video": _uploaded(client, address, text)}
        for values in ([content["video"], TINY, 2, True, 5], [None, TINY, 2, True, 5]):
            assert _called(client, address, "follow", values)[0] == "error"
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err + caplog.text


@pytest.fixture(scope="module")
def browser():
    playwright = needs("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", *camera]
        )
        yield opened
        opened.close()


@pytest.fixture
def tab(browser, address):
    """The page in a browser; no request may leave for elsewhere."""
    asked = []
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(PATIENCE)
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#photo input[type=file]", state="attached")
    yield opened
    opened.close()
    away = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert asked and not away


def _drag(tab, width, height, share):
    """Drag over the middle of a photo as it is shown, `share` of its width and height."""
    edge = tab.locator("#photo img").bounding_box()
    scale = min(edge["width"] / width, edge["height"] / height)
    middle = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    half = share * width * scale / 2, share * height * scale / 2
    tab.mouse.move(middle[0] - half[0], middle[1] - half[1])
    tab.mouse.down()
    tab.mouse.move(middle[0] + half[0], middle[1] + half[1], steps=4)
    tab.mouse.up()


def _box(tab):
    return tab.input_value("#box textarea, #box input")


def _wait_for(tab, selector, text):
    tab.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        arg=[selector, text],
    )


def _kept(tab, button):
    with tab.expect_download() as download:
        tab.click(button)
    return pathlib.Path(download.value.path())


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_a_photo_and_a_dragged_box(tab, photo, tmp_path):
    tab.set_input_files("#photo input[type=file]", photo)
    _wait_for(tab, "#facts", "110×80 pixels")
    tab.wait_for_selector("#tiles img")
    _drag(tab, 110, 80, 0.5)
    values = [float(part) for part in _box(tab).split(",")]
    np.testing.assert_allclose(values, (27.5, 20, 55, 40), atol=1)
    before = tab.get_attribute("#painted img", "src")
    tab.click("#predict")
    tab.wait_for_function(
        "before => document.querySelector('#painted img')?.src !== before", arg=before
    )
    tab.wait_for_selector("#keep-json:not([disabled])")
    [person] = json.loads(_kept(tab, "#keep-json").read_text())["people"]
    assert person["box"] == values
    assert cv2.imread(str(_kept(tab, "#keep-picture"))).shape == (80, 110, 3)
    tab.locator("#photo img").click()
    assert _box(tab) == ""
    tab.screenshot(path=str(tmp_path / "page.png"), full_page=True)


def _place_on_photo(tab):
    """Left and top of the dragged box, from those of the photo, in pixels of the screen."""
    box, photo = (tab.locator(one).bounding_box() for one in ("#dragged", "#photo img"))
    return box["x"] - photo["x"], box["y"] - photo["y"]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_a_dragged_box_stays_on_its_photo_and_goes_with_it(tab, photo):
    tab.set_viewport_size({"width": 390, "height": 700})
    tab.set_input_files("#photo input[type=file]", photo)
    _wait_for(tab, "#facts", "110×80 pixels")
    tab.locator("#photo img").scroll_into_view_if_needed()
    _drag(tab, 110, 80, 0.5)
    before, scrolled = _place_on_photo(tab), tab.evaluate("scrollY")
    tab.mouse.wheel(0, 150)
    tab.wait_for_function("before => scrollY > before + 50", arg=scrolled)
    np.testing.assert_allclose(_place_on_photo(tab), before, atol=1)
    # Who types another one does not see that which was dragged.
    tab.locator("#box textarea, #box input").press_sequentially("1")
    assert tab.locator("#dragged").count() == 0
    tab.locator("#photo img").scroll_into_view_if_needed()
    _drag(tab, 110, 80, 0.5)
    assert tab.locator("#dragged").count() == 1
    tab.locator("#examples button, #examples .gallery-item").nth(1).click()
    _wait_for(tab, "#facts", "3 people")
    assert tab.locator("#dragged").count() == 0 and _box(tab) == ""


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_examples_people_and_hints_on_a_phone(tab):
    tab.set_viewport_size({"width": 390, "height": 844})
    shown = "document.documentElement.scrollWidth"
    assert tab.evaluate(shown) <= 390
    examples = tab.locator("#examples button, #examples .gallery-item")
    assert examples.count() == 3
    examples.nth(1).click()
    _wait_for(tab, "#facts", "3 people")
    tab.wait_for_selector("#person input")
    assert tab.locator("#tiles img").count() == 15  # the crop and 14 joints
    assert tab.evaluate(shown) <= 390
    examples.nth(2).click()
    _wait_for(tab, "#hint", "guess")
    tab.click("button[role=tab]:has-text('Video')")
    tab.wait_for_selector("#follow")
    assert tab.evaluate(shown) <= 390


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_mistakes_are_told_at_the_page(tab, photo, bomb):
    tab.set_input_files("#photo input[type=file]", photo)
    _wait_for(tab, "#facts", "110×80 pixels")
    tab.fill("#box textarea, #box input", "left")
    tab.click("#predict")
    _wait_for(tab, ".toast-wrap", "A box is x, y, w, h in pixels")
    tab.click("#photo button[aria-label='Remove Image']")
    tab.wait_for_selector("#painted img", state="detached")
    # Until the answer is there, the page tells how long it has been waiting.
    tab.wait_for_function("document.querySelector('#facts').innerText.trim() === ''")
    assert _box(tab) == ""
    tab.set_input_files("#photo input[type=file]", bomb)
    _wait_for(tab, ".toast-wrap", "at most 50,000,000 pixels")


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_the_camera(tab):
    tab.click("#photo button[aria-label='Capture from camera']")
    tab.click("#photo >> text=Click to Access Webcam")
    # Before its first picture there is nothing to capture.
    tab.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    tab.click("#photo button[aria-label='capture photo']")
    _wait_for(tab, "#facts", "pixels")


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_a_video(tab, film):
    tab.click("button[role=tab]:has-text('Video')")
    tab.set_input_files("#video input[type=file]", film)
    tab.wait_for_selector("#video video")
    tab.click("#follow")
    _wait_for(tab, "#seen", "7 frames")
    tab.wait_for_selector("#followed video")
    assert len(json.loads(_kept(tab, "#keep-frames").read_text())["frames"]) == 7
    assert _kept(tab, "#keep-video").stat().st_size > 1000
    assert "film.mp4,6," in _kept(tab, "#keep-table").read_text()
