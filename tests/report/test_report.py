"""The report: its numbers, and the page in a real browser."""

import base64
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from colour_vision import least_difference
from dots import FACE, DotNetwork, face_records

from keras_hourglass.analysis import stack_changes
from keras_hourglass.errors import UserError
from keras_hourglass.evaluation import evaluate, evaluate_predictions
from keras_hourglass.io.images import image_size
from keras_hourglass.metrics import PCK, group_curves
from keras_hourglass.prediction.drawing import OUTLINE
from keras_hourglass.report import figures, tables, write_report
from keras_hourglass.report.page import TEMPLATES
from keras_hourglass.report.people import ANNOTATION, choose_people, people_figure
from keras_hourglass.skeletons import SIDE_COLOURS

FACTS = {"model": "runs/<dots>", "data": "faces", "command": "evaluate --data 'a<b>&c'"}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    network = DotNetwork()
    records = face_records(tmp_path_factory.mktemp("faces"), count=9)
    # Somebody at the side of whom nothing is painted, and somebody without a reference length.
    joints, reference = records.joints.copy(), records.reference.copy()
    joints[4] += 40
    reference[7] = np.nan
    records = records.with_columns(joints=joints, reference=reference)
    return network, evaluate(network, records, threshold=0.08)


@pytest.fixture(scope="module")
def report(evaluation, tmp_path_factory):
    network, result = evaluation
    folder = tmp_path_factory.mktemp("report")
    write_report(result, folder, model=network, facts=FACTS, gallery=2)
    return folder


def test_tables_by_hand():
    assert tables.as_text([["name", "x"], ["a", "10.0"], ["long name", "n/a"]]) == (
        "name          x\n---------  ----\na          10.0\nlong name   n/a"
    )
    assert tables.as_markdown([["a", "b"], ["x|y", "1"]]) == (
        "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    )
    parts = TEMPLATES.get_template("parts.html.jinja2").module
    table = parts.table([["a", "b"], ["x", "<b>"]], 'of "all"')
    assert '<th scope="row">x</th><td>&lt;b&gt;</td>' in table and '="of &#34;all&#34;"' in table
    assert [tables.cell(value) for value in (None, float("nan"), 87.456, 3, -0.04)] == [
        "n/a", "n/a", "87.5", "3", "0.0",
    ]  # fmt: skip


def test_tables_of_an_evaluation(evaluation):
    _, result = evaluation
    caption = tables.caption(result)
    assert "PCK@0.08" in caption and "8 people" in caption and "over all counted joints" in caption
    assert tables.stack_table(result) == [
        ["stack", "eyes", "nose", "mean"],
        ["stack_1", "0.0", "0.0", "0.0"],
        ["stack_2", "87.5", "87.5", "87.5"],
    ]
    joints = tables.joint_table(result)
    assert joints[0] == ["joint", "counted", "PCK@0.08", "AUC 0-0.5", "NME"]
    assert joints[1][:3] == ["left_eye", "8", "87.5"] and joints[-1][1] == "24"
    assert [row[1] for row in tables.mean_table(result)[1:]] == ["87.5"] * 3


def test_curves_agree_with_the_tables(evaluation):
    _, result = evaluation
    line = group_curves(result.predictions.distances()[1], FACE, [0.0, 0.08, 10])
    assert line["groups"]["eyes"].tolist() == [0, 87.5, 100]
    assert line["mean"].tolist() == [0, 87.5, 100]


def test_the_gallery_shows_best_median_and_worst():
    distances = np.array([[0.1], [0.9], [np.nan], [0.2], [0.3], [0.4], [0.15]])
    chosen = choose_people(distances, threshold=1, count=1)
    assert chosen == {"best": [0], "median": [3], "worst": [1]}
    assert choose_people(distances, 1, 2) == {"best": [0, 6], "median": [3, 4], "worst": [1, 5]}
    few = choose_people(distances[:2], 1, 6)
    assert few == {"best": [0], "median": [], "worst": [1]}
    assert choose_people(np.full((3, 1), np.nan), 1, 6) == {"best": [], "median": [], "worst": []}


def test_the_page_is_self_contained_and_escaped(report):
    page = (report / "report.html").read_text()
    # Nothing is fetched, and there is no script.
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page and "@import" not in page and "url(" not in page
    assert "evaluate --data &#39;a&lt;b&gt;&amp;c&#39;" in page and "<dots>" not in page
    # Two people of each kind, with a map for each of two stacks.
    assert page.count('<figure class="card">') == 6 and page.count('class="heat h2"') == 6
    assert "0 of 3 right" in page and "3 of 3 right" in page
    for picture in re.findall(r'src="data:image/jpeg;base64,([^"]+)', page):
        assert image_size(base64.b64decode(picture)) == (256, 384)


def test_numbers_at_the_top_are_numbers_with_units(report):
    page = (report / "report.html").read_text()
    large = re.findall(r"<li><b>([^<]*)</b>", page)
    assert len(large) >= 6 and "87.5 %" in large
    assert all(re.fullmatch(r"(n/a|-?[0-9.]+)( %| px| ms)?", text) for text in large)
    assert "</b>mean error, in pixels of the pictures</li>" in page


def test_the_other_files(report):
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["mean"] == 87.5 and metrics["environment"]["keras_hourglass"]
    assert [stack["mean"] for stack in metrics["stacks"]] == [0.0, 87.5]
    text = (report / "report.md").read_text()
    assert text.startswith("# PCK@0.08: 87.5 %") and "| stack_2 | 87.5 | 87.5 | 87.5 |" in text
    assert "- processor:" in text and "- command: evaluate" in text


def test_a_report_needs_neither_model_nor_pictures(evaluation, tmp_path):
    _, result = evaluation
    gone = result.predictions.records.with_columns(images=["gone.jpg"] * 9)
    predictions = type(result.predictions)(
        gone, ("predictions",), result.predictions.keypoints[1:], *[np.full((1, 9, 3), np.nan)] * 2
    )
    write_report(evaluate_predictions(predictions), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert '<figure class="card">' not in page and "What the scores" not in page
    people = json.loads((tmp_path / "predictions.json").read_text())["people"]
    assert people[0]["keypoints"][0][2] is None
    assert people_figure(predictions, [0, 1], ["a", "b"], stacks=(0,)) is None


def test_cells_without_data_say_so(evaluation, tmp_path):
    _, result = evaluation
    records = result.predictions.records

    def without(joints):
        visibility = records.visibility.copy()
        visibility[:, joints] = 0
        return type(result.predictions)(
            records.with_columns(visibility=visibility), result.predictions.stacks,
            result.predictions.keypoints, result.predictions.scores,
            result.predictions.heatmap_means,
        )  # fmt: skip

    write_report(evaluate_predictions(without([1]), normalizer="torso"), tmp_path)
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["joints"][FACE.joints[1]] is None and numbers["mean"] is not None
    assert "n/a" in (tmp_path / "report.md").read_text()
    # Where nobody counts there is nothing to report.
    with pytest.raises(UserError, match="Nobody can be measured. Received: 9 people of whom no j"):
        evaluate_predictions(without([0, 1, 2]), normalizer="torso")


def test_figures_are_drawn(evaluation, tmp_path):
    _, result = evaluation
    change = stack_changes(result.predictions.distances(), FACE, 0.08)
    assert isinstance(change["first"], PCK)
    figures.save_figure(figures.stack_bars(change, "PCK"), tmp_path / "bars.png")
    figure = people_figure(result.predictions, change["order"][:3], ["a", "b", "c"])
    figures.save_figure(figure, tmp_path / "people.png")
    for name in ("bars.png", "people.png"):
        height, width = image_size(tmp_path / name)
        assert height > 200 and width > 400


def test_names_of_joints_are_no_formulas_and_command_nothing(tmp_path, recwarn):
    """What stands between dollar signs is TeX to Matplotlib, which no joint is."""
    names = ["$\\frac$", "$x^$ $", "\x1b[2J", "左肩"]
    for figure in (
        figures.kind_bars({name: [1] * 5 for name in names}, list("abcde")),
        figures.group_curves(
            {"thresholds": [0.0, 0.5], "groups": {name: [0.0, 100.0] for name in names},
             "mean": [0.0, 90.0]}, "PCK",
        ),
    ):  # fmt: skip
        figures.save_figure(figure, tmp_path / "a.png")
        assert image_size(tmp_path / "a.png")[0] > 50
        assert figures.as_data(figure).startswith("data:image/svg+xml")
    assert not recwarn.list
    assert tables.as_text([["\x1b[2J", "x"], ["a", "\x9b1"]]).splitlines() == [
        "\\x1b[2J      x", "-------  -----", "a        \\x9b1",
    ]  # fmt: skip


def test_sides_have_the_colours_of_every_other_picture(evaluation, report):
    """Eyes have a side, the nose none; the line between both eyes belongs to neither."""
    _, result = evaluation
    page = (report / "report.html").read_text()
    for side, (red, green, blue) in SIDE_COLOURS.items():
        assert f"--{side}: rgb({red} {green} {blue});" in page
        assert f".{side} {{ --side: var(--{side}); }}" in page
    card = page[page.index('<figure class="card">') :]
    card = card[: card.index("</figure>")]
    kinds = {"line": ["left", "right", "centre"], "circle": ["left", "right", "centre"]}
    for shape, sides in kinds.items():
        found = re.findall(rf'<{shape} class="(\w+)"', card)
        assert sorted(found) == sorted(["gt"] * 3 + sides), shape
    figure = people_figure(result.predictions, [0], ["a"], stacks=(-1,))
    drawn = [np.multiply(line.get_color(), 255).round() for line in figure.axes[0].lines]
    wanted = [ANNOTATION] * 3 + [SIDE_COLOURS[FACE.limb_side(limb)] for limb in FACE.limbs]
    np.testing.assert_array_equal(drawn, wanted)


def test_nothing_on_a_person_looks_alike():
    assert least_difference(*SIDE_COLOURS.values(), ANNOTATION, OUTLINE) > 80


CHECK = """<style>.heat { transition: none !important; }</style><script>
addEventListener("load", () => setTimeout(() => {
  const found = {};
  const root = document.documentElement;
  found.inner = innerWidth;
  found.overflow = root.scrollWidth - innerWidth;
  found.broken = [...document.images].filter(i => !i.naturalWidth).length;
  found.images = document.images.length;
  const card = document.querySelector(".card");
  const heat = n => getComputedStyle(card.querySelector(".h" + n)).opacity;
  found.before = [heat(1), heat(2)];
  card.querySelector(".c2").focus();
  setTimeout(() => {
    found.after = [heat(1), heat(2)];
    const view = card.querySelector(".view").getBoundingClientRect();
    const svg = card.querySelector("svg").getBoundingClientRect();
    const chip = card.querySelector(".chip").getBoundingClientRect();
    found.same = [view.width - svg.width, view.height - svg.height];
    found.below = chip.top - view.bottom;
    found.small = [...document.querySelectorAll("td, figcaption, .soft")]
      .filter(e => parseFloat(getComputedStyle(e).fontSize) < 11).length;
    document.title = "CHECKED" + JSON.stringify(found);
  }, 400);
}, 100));
</script>"""


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    pytest.skip("no Chromium on this machine")


@pytest.mark.full
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(report, tmp_path, width):
    browser = chromium()
    page = tmp_path / "page.html"
    # Chromium's own windows are at least 500 pixels wide, so the page is shown in a frame.
    text = (report / "report.html").read_text()
    (tmp_path / "inner.html").write_text(text.replace("</body>", CHECK + "</body>"))
    page.write_text(
        f'<body style="margin:0"><iframe src="inner.html" style="width:{width}px;height:900px;'
        'border:0"></iframe><script>setInterval(() => { const t = '
        "frames[0].document.title; if (t.startsWith('CHECKED')) document.title = t; }, 50)"
        "</script></body>"
    )
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000", "--window-size=1400,1000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    env = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    match = re.search(r"<title>CHECKED(.*?)</title>", run.stdout)
    assert match, run.stdout[-500:] + run.stderr[-2000:]
    found = json.loads(match[1].replace("&quot;", '"'))
    assert found["inner"] == width and found["overflow"] <= 0
    assert found["broken"] == 0 and found["images"] >= 6 * 3 + 3
    assert found["before"] == ["0", "0"] and found["after"] == ["0", "1"]
    assert found["same"] == pytest.approx([0, 0], abs=1) and found["below"] >= 0
    assert found["small"] == 0
