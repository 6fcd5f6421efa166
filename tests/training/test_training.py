"""Training from a recipe, on networks that train in seconds."""

import csv
import json
import logging
import signal

import cv2
import keras
import numpy as np
import pytest
import yaml

from keras_hourglass import HeatmapCodec, Skeleton, StackedHourglass
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.errors import RecipeError, UserError, WeightsError
from keras_hourglass.training.batches import JointBatches
from keras_hourglass.training.callbacks import averages as averaging
from keras_hourglass.training.callbacks.averages import Averages
from keras_hourglass.training.callbacks.checkpoints import read_state
from keras_hourglass.training.callbacks.monitoring import SourceValidation, Warn
from keras_hourglass.training.distribution import Layout
from keras_hourglass.training.recipe import load_recipe, save_recipe
from keras_hourglass.training.run import compile_model, train
from keras_hourglass.zoo.store import load_model
from keras_hourglass.zoo.weights import arrays_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
    pytest.mark.usefixtures("without_tracing"),
]
TINY = {"num_stacks": 1, "num_features": 4, "depth": 1, "input_shape": [32, 24, 3]}
TINY |= {"stem": [2, [2], [None]]}


def recipe(**sections):
    """A recipe of two epochs of three steps."""
    values = {
        "model": TINY,
        "data": {
            "train": "synthetic:12@1x64",
            "validation": "synthetic:5@2x64",
            "sigma": 1.0,
            "cache": True,
        },
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "training": {"epochs": 2, "batch_size": 4},
        "monitoring": {"tensorboard": False, "source_every": 0},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return values


BARE = recipe(data={"validation": None})


@pytest.mark.slow
def test_the_step_is_traced_once(tmp_path, monkeypatch):
    """Tracing takes most of the time until the first step is done."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    traces, step = [], StackedHourglass.train_step

    def train_step(model, data):
        traces.append(model)
        return step(model, data)

    monkeypatch.setattr(StackedHourglass, "train_step", train_step)
    two_stacks = {"model": {"num_stacks": 2, "hourglass": {"filters": 4}}}
    _, history = train(recipe(**two_stacks, data={"validation": None}), tmp_path / "run")
    assert len(traces) == 1
    assert history.history["loss"][0] > 0  # not the zeros that the trackers were made with


def log_of(out):
    with open(out / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


class At(keras.callbacks.Callback):
    """Do something at the start of a step of an epoch."""

    def __init__(self, epoch, step, action):
        super().__init__()
        self.epoch, self.step, self.action, self.now = epoch, step, action, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.step):
            self.action(self.model)


@pytest.mark.full
def test_a_run_leaves_weights_logs_and_everything_to_repeat_it(tmp_path):
    two_stacks = {
        "model": {"num_stacks": 2},
        "monitoring": {"source_every": 2, "tensorboard": True},
    }
    model, history = train(recipe(**two_stacks), tmp_path / "run", verbose=0)
    out = tmp_path / "run"
    rows = log_of(out)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name in ("stack_1_pck", "val_stack_2_pck", "val_stack_1_loss"):
        assert float(rows[1][name]) == pytest.approx(history.history[name][1])
    assert rows[0]["val_stack_2_source_pck"] == ""
    assert 0 <= float(rows[1]["val_stack_2_source_pck"]) <= 1
    assert yaml.safe_load((out / "recipe.yaml").read_text())["training"]["batch_size"] == 4
    facts = json.loads((out / "environment.json").read_text())
    assert facts["seed"] == 1 and facts["versions"]["keras"] == keras.__version__
    for name, array in arrays_of(load_model(out / "last")).items():
        np.testing.assert_array_equal(array, arrays_of(model)[name])
    best = max(float(row["val_stack_2_pck"]) for row in rows)
    card = load_model(out).metadata["card"]
    assert card["val_stack_2_pck"] == pytest.approx(best)
    assert load_model(out).preprocessing["sigma"] == 1.0
    assert _tags(out / "tensorboard" / "train") >= {"epoch_loss", "learning_rate"}
    assert _tags(out / "tensorboard" / "validation") >= {"epoch_stack_2_pck", "person_4"}
    with pytest.raises(UserError, match="already holds files"):
        train(recipe(), out)


def _tags(folder):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = folder.iterdir()
    return {
        value.tag for event in EventFileLoader(str(path)).Load() for value in event.summary.value
    }


@pytest.mark.full
def test_ctrl_c_leaves_usable_weights_and_resume_repeats_the_unbroken_run(tmp_path, monkeypatch):
    monkeypatch.setattr(averaging, "STEPS", 3)
    values = recipe(
        training={"epochs": 4, "steps_per_epoch": 2},
        optimizer={"options": {"use_ema": True, "ema_momentum": 0.8}},
        schedule={"name": "plateau", "patience": 1, "divide_by": 2, "times": 3},
    )
    whole, _ = train(values, tmp_path / "whole", verbose=0)
    out = tmp_path / "broken"
    stop = At(2, 1, lambda model: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(values, out, verbose=0, callbacks=[stop])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert read_state(out)["epoch"] == 2
    assert load_model(out / "last").metadata["card"]["epoch"] == 2
    resumed, _ = train(values, out, resume=True, verbose=0)
    for name, array in arrays_of(whole).items():
        np.testing.assert_array_equal(arrays_of(resumed)[name], array, err_msg=name)
    assert log_of(out) == log_of(tmp_path / "whole")
    rates = [row["learning_rate"] for row in log_of(out)]
    assert len(set(rates)) > 1, "the plateau was to be seen"
    again, _ = train(values, out, resume=True, verbose=0)
    for name, array in arrays_of(resumed).items():
        np.testing.assert_array_equal(arrays_of(again)[name], array)


@pytest.mark.full
def test_ctrl_c_in_the_first_epoch_leaves_weights_too(tmp_path, capsys):
    stop = At(0, 1, lambda model: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(BARE, tmp_path / "run", verbose=0, callbacks=[stop])
    assert "Usable weights" in capsys.readouterr().err
    assert load_model(tmp_path / "run").num_stacks == 1
    assert read_state(tmp_path / "run")["epoch"] == 0
    train(BARE, tmp_path / "run", resume=True, verbose=0)
    assert len(log_of(tmp_path / "run")) == 2


@pytest.mark.full
def test_nan_keeps_the_last_good_state_and_resumes_with_a_lower_rate(tmp_path):
    def break_weights(model):
        kernel = model.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.nan))

    out = tmp_path / "run"
    with pytest.raises(UserError, match="diverged.*resume.*learning_rate"):
        train(BARE, out, verbose=0, callbacks=[At(1, 1, break_weights)])
    assert read_state(out)["epoch"] == 1
    before = arrays_of(load_model(out))
    assert all(np.isfinite(array).all() for array in before.values())
    lower = load_recipe(BARE, ["optimizer.learning_rate=0.001"])
    model, _ = train(lower, out, resume=True, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


@pytest.mark.full
def test_a_full_disk_keeps_the_last_good_state(tmp_path):
    resource = pytest.importorskip("resource")
    out, soft = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = At(1, 1, lambda model: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, soft[1])))
    try:
        with pytest.raises(UserError, match="could not be written.*after epoch 1 is kept"):
            train(BARE, out, verbose=0, callbacks=[limit])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert read_state(out)["epoch"] == 1
    load_model(out)
    train(BARE, out, resume=True, verbose=0)
    assert [row["epoch"] for row in log_of(out)] == ["0", "1"]
    assert not [path for path in out.rglob(".*") if path.is_file()]


def test_resume_refuses_another_recipe_and_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="checkpoint"):
        train(BARE, tmp_path, resume=True)
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint" / "1.npz").touch()
    state = {"epoch": 1, "file": "1.npz"}
    (tmp_path / "run" / "checkpoint" / "state.json").write_text(json.dumps(state))
    save_recipe(load_recipe(recipe()), tmp_path / "run" / "recipe.yaml")
    with pytest.raises(RecipeError, match=r"^data\.sigma: .*Received: 2\.0 after 1\.0"):
        train(recipe(data={"sigma": 2.0}), tmp_path / "run", resume=True)


@pytest.mark.slow
def test_unreadable_pictures_are_counted_named_and_skipped(tmp_path, caplog):
    folder = _coco_folder(tmp_path / "data", broken=2)
    values = recipe(data={"train": f"coco:{folder}", "validation": None}, training={"epochs": 1})
    with caplog.at_level(logging.WARNING, "keras_hourglass"):
        _, history = train(values, tmp_path / "run", verbose=0)
    assert "2 unreadable pictures are skipped" in caplog.text and "picture_0.png" in caplog.text
    lines = (tmp_path / "run" / "skipped.txt").read_text().splitlines()
    assert len(lines) == 2 and "picture_1.png" in lines[1]
    assert np.isfinite(history.history["loss"]).all()
    folder = _coco_folder(tmp_path / "all", broken=8)
    with pytest.raises(UserError, match="None of the pictures can be read"):
        train({**values, "data": {"train": f"coco:{folder}"}}, tmp_path / "run2", verbose=0)


def _coco_folder(folder, broken, count=8):
    """Noise with two labelled joints each, the first pictures cut short."""
    folder.mkdir()
    names = ("head", "foot")
    content = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "person", "keypoints": names, "skeleton": [[1, 2]]}]
    for index in range(count):
        name = f"picture_{index}.png"
        noise = np.random.default_rng(index).integers(0, 255, (40, 30, 3), np.uint8)
        data = cv2.imencode(".png", noise)[1].tobytes()
        (folder / name).write_bytes(data[:60] if index < broken else data)
        content["images"].append({"id": index, "file_name": name, "height": 40, "width": 30})
        content["annotations"].append(
            {
                "id": index, "image_id": index, "category_id": 1, "num_keypoints": 2,
                "keypoints": [12, 8, 2, 15, 33, 2], "bbox": [5, 4, 20, 32], "area": 640,
                "iscrowd": 0,
            }
        )  # fmt: skip
    (folder / "person_keypoints.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_weights_of_another_architecture_are_refused(tmp_path):
    StackedHourglass(14, 1, 8, depth=1, input_shape=(32, 24, 3)).save_to_preset(tmp_path / "other")
    for source in (tmp_path / "other", tmp_path / "other" / "model.weights.h5"):
        values = recipe(training={"weights": str(source)})
        with pytest.raises(WeightsError, match=r"^training\.weights: .*other.*architecture"):
            train(values, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_a_preset_with_frozen_layers_first(tmp_path, capsys):
    network = {key: value for key, value in TINY.items() if key != "skeleton"}
    start = StackedHourglass(skeleton="lsp", **network)
    start.save_to_preset(tmp_path / "start")
    seen = []
    look = At(1, 0, lambda model: seen.append(arrays_of(model)))
    values = recipe(
        training={"epochs": 2, "frozen": ["stem"], "frozen_epochs": 1},
        model={"preset": str(tmp_path / "start")},
    )
    values["model"] = {"preset": str(tmp_path / "start")}
    model, _ = train(values, tmp_path / "run", verbose=0, callbacks=[look])
    told = "note: stem stays as it is in the first 1 of 2 epochs (training.frozen_epochs)."
    assert capsys.readouterr().err.splitlines().count(told) == 1
    before, middle, after = arrays_of(start), seen[0], arrays_of(model)
    for name in before:
        same = np.array_equal(before[name], middle[name])
        assert same == name.startswith("stem/"), name
    assert not np.array_equal(after["stem/conv/kernel"], before["stem/conv/kernel"])
    values["training"]["frozen"] = ["root"]
    with pytest.raises(RecipeError, match=r"^training\.frozen: .*stem.*Received: 'root'"):
        train(values, tmp_path / "run2")


@pytest.mark.full
def test_early_stopping_and_a_run_that_is_over(tmp_path):
    values = recipe(
        optimizer={"learning_rate": 1e-12},
        training={"epochs": 9},
        schedule={"early_stopping": 1},
    )
    train(values, tmp_path / "run", verbose=0)
    done = len(log_of(tmp_path / "run"))
    assert 2 <= done < 9
    train(values, tmp_path / "run", resume=True, verbose=0)
    assert len(log_of(tmp_path / "run")) == done


def test_options_of_the_optimizer(tmp_path):
    model = StackedHourglass(skeleton="lsp", **TINY)
    values = recipe(
        optimizer={
            "name": "torch_rmsprop",
            "options": {"global_clipnorm": 1.0, "gradient_accumulation_steps": 3},
        }
    )
    compile_model(model, load_recipe(values), 5)
    assert model.optimizer.global_clipnorm == 1.0
    assert model.optimizer.gradient_accumulation_steps == 3 and model.optimizer.rho == 0.99
    for name, options, key in (
        ("adamm", {}, "optimizer.name"),
        ("adam", {"rho": 0.9}, r"optimizer\.options\.rho"),
    ):
        values["optimizer"] |= {"name": name, "options": options}
        with pytest.raises(RecipeError, match=f"^{key}: "):
            compile_model(model, load_recipe(values), 5)


def test_cosine_schedule_by_hand():
    model = StackedHourglass(skeleton="lsp", **TINY)
    schedule = {"name": "cosine", "warmup": 1, "final": 0.1}
    values = recipe(optimizer={"learning_rate": 2.0}, schedule=schedule, training={"epochs": 3})
    compile_model(model, load_recipe(values), 10)
    rate = model.optimizer._learning_rate
    # From a hundredth up within 10 steps, then half a cosine of 20 steps down to a tenth.
    expected = {0: 0.02, 5: 1.01, 10: 2.0, 20: 1.1, 30: 0.2}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, rel=1e-5)


@pytest.mark.full
def test_every_supervision_trains(tmp_path):
    for supervision in ("inner", "last", "sum"):
        network = {**TINY, "supervision": supervision, "num_stacks": 2, "skeleton": "lsp"}
        if supervision == "inner":
            network |= {"depth": 2, "input_shape": [32, 48, 3]}
        model = StackedHourglass(**network)
        values = load_recipe(recipe(model=network))
        compile_model(model, values, 5)
        batches = JointBatches(synthetic_records(4, 3, 64), codec_of(model), batch_size=4)
        crops, targets = batches.batch(0)
        logs = model.train_on_batch(
            crops, dict.fromkeys(model.output_names, targets), return_dict=True
        )
        assert np.isfinite(float(logs["loss"])) and any(name.endswith("pck") for name in logs)


def codec_of(model):
    return HeatmapCodec(model.input_size, model.stride, 1.0)


@pytest.mark.full
def test_averages_take_statistics_of_their_own_and_raw_weights_come_back():
    model = StackedHourglass(skeleton="lsp", **TINY)
    options = {"use_ema": True, "ema_momentum": 0.5}
    values = recipe(optimizer={"learning_rate": 0.5, "options": options})
    compile_model(model, load_recipe(values), 3)
    batches = JointBatches(synthetic_records(8, 1, 64), codec_of(model), batch_size=4)
    for step in (0, 1):
        crops, targets = batches.batch(step)
        model.train_on_batch(crops, {"stack_1": targets})
    raw = arrays_of(model)
    averages = Averages(model, batches, steps=2)
    with averages.shown():
        shown = arrays_of(model)
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(array, raw[name])
    assert not np.array_equal(shown["stem/conv/kernel"], raw["stem/conv/kernel"])
    moving = next(name for name in raw if name.endswith("moving_mean"))
    assert not np.array_equal(shown[moving], raw[moving])


def test_epochs_of_any_length_show_everybody_equally_often():
    records = synthetic_records(10, 1, 64)
    batches = JointBatches(records, batch_size=3, steps=2, shuffle=True, seed=4)
    assert len(batches) == 2 and batches.passes == 3
    seen = []
    original = batches.sample
    batches.sample = lambda person, epoch: seen.append((epoch, person)) or original(person, epoch)
    for epoch in range(3):
        for step in range(2):
            batches.batch(step, epoch)
    # Six batches of three are two passes of nine people, each in an order of its own.
    assert [epoch for epoch, _ in seen] == [0] * 9 + [1] * 9
    assert len({person for epoch, person in seen if epoch == 0}) == 9


def test_a_batch_that_does_not_divide_is_filled_with_empty_crops():
    records = synthetic_records(5, 1, 64)
    halves = [
        JointBatches(records, batch_size=4, layout=Layout(2, process, 2)).batch(1)
        for process in (0, 1)
    ]
    plain = JointBatches(records, batch_size=4).batch(1)
    assert plain[0].shape[0] == 1 and [crops.shape[0] for crops, _ in halves] == [1, 1]
    np.testing.assert_array_equal(halves[0][0], plain[0])
    assert not halves[1][0].any() and not halves[1][1][..., 3].any()
    # The mean over two people, one of them empty, is the mean over the one.
    np.testing.assert_allclose(halves[0][1][..., 3], 2 * plain[1][..., 3])


@pytest.mark.full
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_stays_close_to_float32(tmp_path, policy):
    values = recipe(data={"validation": None}, optimizer={"name": "sgd", "learning_rate": 0.1})
    plain, history = train(values, tmp_path / "plain", verbose=0)
    values["training"] = {**values["training"], "precision": policy}
    mixed, again = train(values, tmp_path / "mixed", verbose=0)
    np.testing.assert_allclose(again.history["loss"], history.history["loss"], rtol=0.02)
    assert all(variable.dtype == "float32" for variable in mixed.variables)
    assert mixed.output["stack_1"].dtype == "float32"
    assert mixed.get_layer("stem").compute_dtype == policy.removeprefix("mixed_")
    scaled = type(mixed.optimizer).__name__ == "LossScaleOptimizer"
    assert scaled == (policy == "mixed_float16")
    assert keras.mixed_precision.dtype_policy().name == "float32"


def test_collapse_and_divergence_are_told_once(caplog):
    model = StackedHourglass(skeleton="lsp", **TINY)
    compile_model(model, load_recipe(recipe()), 3)
    batches = JointBatches(synthetic_records(4, 1, 64), codec_of(model), batch_size=4)
    warn = Warn(batches, Averages(model))
    warn.set_model(model)
    with caplog.at_level(logging.WARNING, "keras_hourglass"):
        for epoch in range(3):
            warn.on_epoch_end(epoch, {"loss": 1.0, "val_loss": 3.5})
    assert caplog.text.count("almost empty heatmaps") == 1
    assert caplog.text.count("more than three times the training loss") == 1
    assert "Epoch 2" in caplog.text


@pytest.mark.parametrize("joint, threshold", [("head_top", 0.5), ("neck", 0.2)])
def test_validation_measures_by_the_threshold_of_evaluation(joint, threshold):
    """Lengths that are not the torso's are heads where the joints have one."""
    records = synthetic_records(3, 1, 64)
    joints = [joint if name == "head_top" else f"{name}_" for name in records.skeleton.joints]
    records = records.with_columns(skeleton=Skeleton("own", joints), reference=[3.0, 5.0, 4.0])
    model = StackedHourglass(skeleton="lsp", **TINY)
    compile_model(model, load_recipe(recipe()), 3)
    callback = SourceValidation(JointBatches(records), 1, Averages(model))
    assert callback.threshold == threshold


def test_the_key_of_missing_data_is_named(tmp_path):
    values = recipe(data={"validation": "coco:nowhere"})
    with pytest.raises(UserError, match=r"^data.validation: .*nowhere.* --set data.validation="):
        train(values, tmp_path / "run")
