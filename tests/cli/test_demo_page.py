"""The demo page: what it calls, and in a real browser with a real upload."""

import json
import shutil

import numpy as np
import pytest
from colour_engine import paint
from networks import save_untrained

from keras_hourglass.errors import UserError
from keras_hourglass.io.images import write_image

POINTS = ((40, 30), (70, 60), (90, 20))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_image(path, paint(80, 110, *POINTS))
    return str(path)


def test_predict(model, photo):
    from keras_hourglass.cli.demo_page import Demo

    demo = Demo([model])
    assert demo.stacks(model) == [2, 1]
    painted, sheet, facts, document = demo.predict(photo, " 10, 5, 40,60 ", model, "1", False)
    assert painted.shape == (80, 110, 3) and sheet.ndim == 3
    assert " ms**" in facts and "110×80 pixels" in facts
    [person] = json.loads(document)["people"]
    assert person["box"] == [10, 5, 40, 60]
    _, _, _, document = demo.predict(photo, "", model, None, True)
    assert json.loads(document)["people"][0]["box"] == [0, 0, 110, 80]


def test_mistakes(model, photo):
    from keras_hourglass.cli.demo_page import Demo

    demo = Demo([model])
    for arguments, reason in (
        ((None, "", model, None, True), "photo first"),
        ((photo, "1,2,3", model, None, True), "A box is"),
        ((photo, "left", model, None, True), "A box is"),
        ((photo, "", "/etc/passwd", None, True), "This page offers"),
        ((photo, "", model, 9, True), "no such stack"),
    ):
        with pytest.raises(UserError, match=reason):
            demo.predict(*arguments)
    with pytest.raises(UserError, match="needs a model"):
        Demo([])


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # Gradio's own
def test_in_a_browser(model, photo, browser, tmp_path):
    pytest.importorskip("gradio")
    from keras_hourglass.cli.demo_page import build_page

    page, options = build_page([model])
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **options)
    try:
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.goto(address)
        tab.set_input_files("#photo input[type=file]", photo)
        tab.wait_for_selector("#painted img", timeout=30000)
        assert "110×80 pixels" in tab.inner_text("#facts")
        # Drag over the middle half of the photo, as it is shown.
        edge = tab.locator("#photo img").bounding_box()
        scale = min(edge["width"] / 110, edge["height"] / 80)
        middle = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
        tab.mouse.move(middle[0] - 27.5 * scale, middle[1] - 20 * scale)
        tab.mouse.down()
        tab.mouse.move(middle[0] + 27.5 * scale, middle[1] + 20 * scale, steps=4)
        tab.mouse.up()
        values = [float(part) for part in tab.input_value("#box textarea, #box input").split(",")]
        np.testing.assert_allclose(values, (27.5, 20, 55, 40), atol=1)
        before = tab.get_attribute("#painted img", "src")
        tab.click("#predict")
        tab.wait_for_function(
            "before => document.querySelector('#painted img').src !== before", arg=before
        )
        tab.wait_for_selector("#sheet img")
        tab.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    finally:
        page.close()
