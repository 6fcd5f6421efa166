"""The parts of the benchmarks that decide something: percentiles, ratios, goals, the table."""

import ast
import importlib
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in (
        "cards", "common", "frontier", "people", "run", "scaling", "plain_transforms",
        "program", "small_networks",
    ):  # fmt: skip
        sys.modules.pop(name, None)


def _imports(tree):
    """Module and name of what of the package a program imports, also in its pieces of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.Constant) and "import " in str(node.value):
            try:
                yield from _imports(ast.parse(node.value))
            except SyntaxError:
                pass  # words, no code


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_import_what_there_is(path):
    for module, name in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        if module.partition(".")[0] == "keras_hourglass":
            loaded = importlib.import_module(module)
            there = name is None or hasattr(loaded, name)
            assert there or importlib.util.find_spec(f"{module}.{name}"), f"{module} has no {name}"


def test_modules_whose_mutants_are_recorded_are_there():
    mutation = ast.parse((BENCHMARKS / "mutation.py").read_text(encoding="utf-8"))
    [known] = [
        node.value for node in mutation.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "KNOWN"
    ]  # fmt: skip
    names = {key.value for key in known.keys}
    root = BENCHMARKS.parent
    recorded = json.loads((BENCHMARKS / "results" / "mutants.json").read_text(encoding="utf-8"))
    page = (root / "tests" / "mutants.md").read_text(encoding="utf-8")
    assert names == set(recorded)
    for name in names:
        assert (root / "keras_hourglass" / f"{name}.py").is_file() and f"| `{name}` |" in page


def test_spread_of_numbers():
    import common

    # 11 numbers: the 10th percentile is the second, the 90th the tenth.
    found = common.spread([30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert (found.median, found.low, found.high, found.least, found.count) == (6, 2, 10, 1, 11)
    assert common.spread([4.0]).to_dict()["high"] == 4.0
    assert common.percentile([10.0, 20.0], 25) == 12.5
    with pytest.raises(ValueError, match="at least one"):
        common.spread([])


def test_ratios_are_taken_turn_by_turn():
    import common

    # A machine that is ten times slower in the second turn does not change the ratio.
    assert common.ratios([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]).median == 2.0
    with pytest.raises(ValueError):
        common.ratios([1.0, 2.0], [1.0])


def test_calls_take_turns_and_warm_up_is_not_counted():
    import common

    order = []
    taken = common.interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, warmup=1
    )
    assert "".join(order) == "baabbaab"
    assert {name: len(values) for name, values in taken.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    ("reached", "at_least", "met"),
    [(1.9, False, True), (1.91, False, False), (1.9, True, True), (1.89, True, False)],
)
def test_a_goal_is_met_up_to_its_limit(reached, at_least, met):
    import common

    goal = common.Goal(3, "x", reached, 1.9, at_least=at_least)
    assert goal.met is met
    assert ("MISSED" in str(goal)) is not met
    assert common.goal_from(json.loads(json.dumps(goal.to_dict()))) == goal


def test_results_carry_the_machine_and_the_verdicts(tmp_path, capsys):
    import common

    common.write(tmp_path / "new" / "x.json", {"a": 1}, [common.Goal(5, "start", 0.4, 0.3, "s")])
    content = common.read(tmp_path / "new" / "x.json")
    assert content["a"] == 1 and content["goals"][0]["met"] is False
    assert content["hardware"]["cores"] >= 1 and "python" in content["versions"]
    assert "0.4 s, wanted at most 0.3 s: MISSED" in capsys.readouterr().out
    assert common.read(tmp_path / "none.json") == {}


def _served(batch_1, batch_8):
    rows = ("SavedModel", "onnx", "openvino", "litert", "matrix-product floor")
    return {
        "model": "random_2s_64f_128",
        **{
            f"batch {count}": {
                name: {"median_ms": value} for name, value in zip(rows, values, strict=True)
            }
            for count, values in ((1, batch_1), (8, batch_8))
        },
    }


def test_goals_of_serving():
    import run

    goals = run.serving_goals([_served((12, 8, 10, 4, 10), (5, 6, 10, 4, 5))])
    assert [(g.number, round(g.reached, 3), g.met) for g in goals] == [
        (1, 1.5, False), (1, 1.2, False), (7, 3.0, False), (1, 0.833, True), (1, 1.0, True),
    ]  # fmt: skip


def test_goals_of_training_take_the_best_variant_of_each_side():
    import run

    rows = {"keras-graph": (20, 900), "keras-xla": (30, 1200), "torch-eager": (5, 700),
            "torch-compile": (24, 1000)}  # fmt: skip
    variants = {
        name: {"images_per_s": speed, "peak_mib": peak} for name, (speed, peak) in rows.items()
    }
    speed, memory = run.train_goals({"variants": variants}, "small")
    assert (speed.reached, speed.met) == (1.25, True)
    assert (memory.reached, memory.met) == (1.2, False)
    assert run.train_goals({"variants": {"keras-graph": variants["keras-graph"]}}, "x") == []


def test_the_table_replaces_what_is_between_the_marks():
    import common
    import run

    goal = common.Goal(4, "samples/s", 12.04, 10, at_least=True, note="1204 against 100")
    text = run.table({"input_pipeline": ([goal], {"hardware": {"cores": 2}})})
    assert "| 4 | samples/s | 12× | ≥ 10× | met | 1204 against 100 (`input_pipeline`) |" in text
    assert "1 of 1 numbers" in text and "2 cores" in text
    page = "before\n<!-- goals -->\nold\n<!-- /goals -->\nafter\n"
    expected = "before\n<!-- goals -->\nnew\n<!-- /goals -->\nafter\n"
    assert common.replace_between(page, run.MARK, "new") == expected
    with pytest.raises(SystemExit, match="marks"):
        common.replace_between("no marks", run.MARK, "new")


def test_options_of_a_missing_folder_are_left_out():
    import run

    assert run.command("photo", None)[2:] == []
    assert run.command("photo", "d")[2:] == ["--photo", "d/lsp_train/images/im0801.jpg"]
    assert "--data-root" not in run.command("startup", None)
    assert run.command("small_networks", "d", "py")[-2:] == ["--mediapipe", "py"]


def test_growth_is_measured_against_the_cheapest_smaller_size():
    import scaling

    rows = [
        {"size": size, "gflop": work, "milliseconds": {"median": time, "count": 30}}
        for size, work, time in ((1, 10, 20), (2, 20, 30), (4, 40, 66))
    ]
    # 2.0, 1.5 and 1.65 ms per unit of work.
    assert scaling.growth(rows) == [1.0, 0.75, 1.1]
    goal = scaling.judge("batches_2s", rows)
    assert goal.reached == 1.1 and not goal.met and "batch 4" in goal.note


def test_plain_transforms_show_the_same_crop_as_the_package(tmp_path):
    import plain_transforms

    from keras_hourglass.geometry import apply_affine, crop_affine
    from keras_hourglass.io.images import read_image, warp, write_image

    y, x = np.mgrid[:90, :120]
    picture = np.stack([2 * x, 255 - 2 * x, 2 * y], axis=-1).astype(np.uint8)
    path = str(tmp_path / "slopes.png")
    write_image(path, picture)
    box, joint = np.array([60.0, 44.0, 40.0]), np.array([[52.0, 50.0], [66.0, 39.0]])
    samples = plain_transforms.PlainSamples(
        [path], [box], joint[None], np.array([[2, 0]]), (1, 0), size=64, augment=False
    )
    crop, maps = samples(0)
    shown = 255 * (crop + plain_transforms.MEAN[:, None, None]).transpose(1, 2, 0)
    expected = warp(read_image(path), crop_affine(box, (64, 64)), (64, 64))
    assert crop.shape == (3, 64, 64) and maps.shape == (2, 16, 16)
    assert np.abs(shown - expected)[2:-2, 2:-2].max() <= 4  # half a source pixel is 1 grey level
    # 8 px left of the centre are 3.2 of 16 cells: 7.5 - 3.2 = 4.3; 6 px down: 7.5 + 2.4 = 9.9.
    assert np.unravel_index(maps[0].argmax(), maps[0].shape) == (10, 4) and maps[0].max() == 1
    assert not maps[1].any()
    for turn in (0.0, 30.0):
        matrix = crop_affine(box, (64, 64), rotation=-turn)
        point = np.append(joint[0], 1) @ plain_transforms.to_crop(box[:2], 40.0, 64, turn).T
        np.testing.assert_allclose(point[:2], apply_affine(matrix, joint[:1])[0])


def test_people_that_are_not_found_count_as_wrong():
    import dataclasses

    import small_networks

    from keras_hourglass.data.figures import synthetic_records

    records = synthetic_records(num=2, seed=1, size=64)
    records = dataclasses.replace(records, visibility=np.full((2, 14), 2), reference=[10.0, 20.0])
    right = records.joints[0] + [2.0, 0.0]  # 0.2 of the first torso
    nobody = small_networks.as_joints(None, records.skeleton)
    whole, limbs = small_networks.accuracy([right, records.joints[1] + [0, 4.1]], records)
    assert (whole, limbs) == (50.0, 50.0)
    whole, limbs = small_networks.accuracy([nobody, records.joints[1]], records)
    assert (whole, limbs) == (50.0, 50.0)
    points = np.arange(66.0).reshape(33, 2)
    joints = small_networks.as_joints(points, records.skeleton)
    assert joints[records.skeleton.index("left_wrist")].tolist() == [30.0, 31.0]
    assert np.isnan(joints[records.skeleton.index("neck")]).all()
    assert small_networks.accuracy([joints, joints], records)[0] is None


def test_the_pages_show_what_the_cards_say(monkeypatch):
    import cards

    said = cards.cards()
    assert cards.stale_pages(said) == []
    # One figure changed, both tables of networks are named; their columns' origins stay.
    said["hourglass_tiny_lsp"]["figures"]["COCO people"]["PCK@0.2"] += 0.1
    wrong = cards.stale_pages(said)
    assert [line.split(":")[0] for line in wrong] == ["README.md", "weights/README.md"]
    assert all("--tables" in line for line in wrong)


def test_every_figure_of_a_card_says_who_and_by_which_command():
    import cards

    for name, card in cards.cards().items():
        assert card["metric"]["data"] in cards.SETS
        people = name.endswith("_people")
        for data, asked in cards.SETS.items():
            if asked.needs and not people:
                assert data not in card["figures"]
                continue
            row = card["figures"][data]
            assert row["command"] == cards.command(data) and row["joints"] > row["people"] > 0
            assert row["chose"] == cards.chosen(name, data)
        assert (cards.AP in card["figures"]) == people
        if name.endswith(("_lsp", "_people")):
            assert "chose" in card["convention"]
        if name.endswith("_lsp"):
            assert "was not" in card["figures"][cards.OTHER_HALF]["command"]


def test_what_is_said_and_what_is_measured():
    import cards

    said = {"a": {"PCK@0.2": 80.5, "people": 200}, "b": "text"}
    assert cards.differences(said, said, 0.1, "x") == []
    close = {"a": {"PCK@0.2": 80.6, "people": 200}, "b": "text"}
    assert cards.differences(said, close, 0.1, "x") == []
    other = {"a": {"PCK@0.2": 80.7, "people": 199}, "c": 1}
    assert cards.differences(said, other, 0.1, "x") == [
        "x: b is said, but not measured",
        "x: c is measured, but not said",
        "x, a, PCK@0.2: 80.5 is said, 80.7 measured",
        "x, a, people: 200 is said, 199 measured",
    ]
    assert cards.differences({"a": "1"}, {"a": 1}, 0.1, "x") == ["x, a: '1' is said, 1 measured"]


def _frontier():
    """Seconds of three turns, the second of which was ten times slower for everybody."""
    turns = [1, 10, 1]
    middle = {
        ("ours_tiny, mirrored", "onnxruntime"): 0.009,
        ("ours_tiny, mirrored", "litert"): 0.012,
        ("ours_tiny, 8 bits, one pass", "litert-int8"): 0.006,
        ("ours_large, one pass", "folded"): 0.02,
        ("MoveNet Lightning", "litert"): 0.01,
        ("BlazePose full", "litert"): 0.025,
    }
    return {way: [turn * one for turn in turns] for way, one in middle.items()}


ACCURACY = {
    "ours_tiny, mirrored": {"pck": 60.0, "ap": 30.0, "ap_17": 31.0},
    "ours_tiny, 8 bits, one pass": {"pck": 57.0, "ap": 32.5, "ap_17": 29.0},
    "ours_large, one pass": {"pck": 70.0, "ap": 40.0, "ap_17": None},
    "MoveNet Lightning": {"pck": 61.0, "ap": 32.0, "ap_17": 33.0},
    "BlazePose full": {"pck": 65.0, "ap": 45.0, "ap_17": 30.0},
}


def test_a_frontier_is_judged_by_what_is_as_fast_in_the_same_turns():
    import frontier

    timing = frontier.summarise(_frontier())
    assert timing["ours_tiny, mirrored"]["onnxruntime"]["ratios"] == {
        "MoveNet Lightning": 0.9, "BlazePose full": 0.36,
    }  # fmt: skip
    assert timing["ours_tiny, mirrored"]["litert"]["milliseconds"]["median"] == 12.0
    goals = frontier.judge(ACCURACY, timing)
    # The large one is too slow for MoveNet's time, and the best of both for BlazePose's.
    assert [(goal.reached, goal.limit, goal.met) for goal in goals] == [
        (60.0, 61.0, False), (32.5, 32.0, True), (70.0, 65.0, True), (40.0, 45.0, False),
    ]  # fmt: skip
    assert goals[0].note == (
        "`ours_tiny`, mirrored by ONNX Runtime, 0.90 × its time; it takes 10.0 ms"
    )
    # Without a rival in the same run nothing is judged.
    assert frontier.judge(ACCURACY, {"ours_tiny, mirrored": timing["ours_tiny, mirrored"]}) == []


def test_the_table_of_the_frontier_has_the_fastest_first():
    import frontier

    text = frontier.table({"accuracy": ACCURACY, "timing": frontier.summarise(_frontier())})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    head, _, first, second, third, *_ = rows
    assert head[4:] == [
        "ONNX Runtime", "OpenVINO", "LiteRT", "TensorFlow", "× MoveNet", "× BlazePose",
    ]  # fmt: skip
    assert first == [
        "`ours_tiny`, 8 bits, one pass", "57.0", "32.5", "29.0", "", "", "6.0", "", "0.60", "0.24",
    ]  # fmt: skip
    assert second[:1] + second[4:8] == ["`ours_tiny`, mirrored", "9.0", "", "12.0", ""]
    assert third[0] == "MoveNet Lightning" and third[8] == "1.00"
    # What was timed and not measured, and the other way round, is there too.
    some = {"accuracy": {"a, mirrored": ACCURACY["ours_large, one pass"]}, "timing": {}}
    assert "| `a`, mirrored | 70.0 | 40.0 |  |" in frontier.table(some)


def test_of_a_frontier_nothing_is_both_slower_and_worse(tmp_path):
    import frontier

    points = [(5, 40, "a"), (4, 30, "b"), (6, 35, "c"), (4, 20, "d"), (9, 41, "e"), (9, 50, "f")]
    assert [name for *_, name in frontier.frontier(points)] == ["b", "a", "f"]
    result = {"accuracy": ACCURACY, "timing": frontier.summarise(_frontier())}
    frontier.draw(result, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").read_bytes()[1:4] == b"PNG"


def test_people_of_the_frontier_are_measured_by_their_limbs(tmp_path):
    """Perfect limbs and a wrong nose; then one wrist of the two people is off by a torso."""
    pytest.importorskip("pycocotools")
    import frontier

    from keras_hourglass.io.images import write_image
    from keras_hourglass.skeletons import COCO

    points = np.stack([np.linspace(20, 80, 17), np.linspace(15, 175, 17)], axis=-1)
    document = {
        "images": [], "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
    }  # fmt: skip
    for key in (1, 2):
        write_image(tmp_path / f"{key}.png", np.zeros((200, 100, 3), np.uint8))
        document["images"].append(
            {"id": key, "file_name": f"{key}.png", "width": 100, "height": 200}
        )
        rows = np.column_stack([points, np.full(17, 2.0)]).ravel().tolist()
        document["annotations"].append(
            {"id": key, "image_id": key, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
             "bbox": [10, 10, 80, 180], "keypoints": rows}
        )  # fmt: skip
    path = tmp_path / "people.json"
    path.write_text(json.dumps(document))
    people = frontier.People(path)
    asked = []

    def call(image, rectangle, how):
        asked.append((image.shape, rectangle, how))
        found = points.copy()
        found[COCO.index("nose")] += 50
        return COCO.joints, found, np.full(17, 0.5)

    found = people.predict(call, 1.25)
    # The enclosing square of the box, with its margin: 180 × 1.25 about (50, 100).
    assert asked[1] == ((200, 100, 3), [-62.5, -12.5, 225.0, 225.0], 1.25)
    row = people.accuracy(*found)
    assert (row["pck"], row["people"], row["ap"]) == (100.0, 2, 100.0) and row["ap_17"] < 100
    found[0][1, COCO.index("left_wrist")] += 200
    assert people.accuracy(*found)["pck"] == round(100 * 23 / 24, 2)
    # Joints of the face that a network has not do not count, and 17 joints are not measured.
    found[0][:, :5] = np.nan
    row = people.accuracy(*found)
    assert row["pck"] == round(100 * 23 / 24, 2) and row["ap_17"] is None
    assert len(frontier.People(path, 1)) == 1


def test_bytes_of_a_compiled_program():
    # A fusion reads 2 × 3 numbers of two bytes and 3 of four, and writes 2 × 3 of four: 48. The
    # convolution writes 5 of two bytes and a byte, and reads 24 and 12 bytes: 47.
    program = importlib.import_module("program")
    text = """HloModule step

%fused_add (p: bf16[2,3]) -> f32[2,3] {
  ROOT %inside.1 = f32[2,3]{1,0} convert(%p)
}

ENTRY %main (x: bf16[2,3], b: f32[3]) -> f32[2,3] {
  %x.1 = bf16[2,3]{1,0} parameter(0)
  %b.1 = f32[3]{0} parameter(1)
  %loop_add_fusion.12 = f32[2,3]{1,0} fusion(%x.1, %b.1), kind=kLoop, calls=%fused_add, \
metadata={op_name="step/sum"}
  %conv.2 = (bf16[5]{0}, u8[1]{0}) custom-call(%loop_add_fusion.12, %b.1), \
custom_call_target="__cudnn$convForward", metadata={op_name="step/conv"}
  %get-tuple-element.3 = bf16[5]{0} get-tuple-element(%conv.2), index=0
  ROOT %copy.4 = bf16[5]{0} copy(%get-tuple-element.3)
}
"""
    assert program.kernels(text) == [
        ("loop_add_fusion", 48, "step/sum"),
        ("__cudnn$convForward", 47, "step/conv"),
        ("copy", 20, ""),
    ]
