"""`keras-hourglass demo`: the main job end to end on generated figures."""

import json
import logging
import pathlib
import shutil
import time

from keras_hourglass.cli.common import add_overrides, fit_verbosity

RECIPE = "synthetic_demo"
COMMAND = "keras-hourglass demo"
SEED = 20160322  # of figures that neither training nor validation draws
PARTS = ("figures", "training", "report", "served", "overlays", "own_joints")
SHIPPED = "hourglass_tiny_synthetic"
# Joints that the shipped network does not know, each halfway between two that the figures have;
# the others keep their names, and with them their weights.
OWN_JOINTS = {
    "head_top": ("head_top", "head_top"),
    "chest": ("left_shoulder", "right_shoulder"),
    "pelvis": ("left_hip", "right_hip"),
    "left_wrist": ("left_wrist", "left_wrist"),
    "right_wrist": ("right_wrist", "right_wrist"),
    "left_shin": ("left_knee", "left_ankle"),
    "right_shin": ("right_knee", "right_ankle"),
}


def add_arguments(parser):
    parser.add_argument("--out", default="demo_out", help="folder for everything that is made")
    parser.add_argument("--figures", type=int, default=200, help="unseen figures to measure on")
    add_overrides(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the parts of an earlier demo"
    )


def run(args):
    demo(args.out, args.overwrite, args.overrides, args.figures, verbose=fit_verbosity())


def demo(out, overwrite=False, overrides=(), figures=200, say=print, verbose="auto"):
    """Train, measure, export, serve and draw on figures nobody has seen.

    Args:
        out: folder for everything that is made.
        overwrite: replace the parts of an earlier demo in that folder.
        overrides: `section.key=value` strings for the recipe.
        figures: how many unseen figures to measure on.
        say: takes each line of the story.
        verbose: how trainings report, as in `keras.Model.fit`.

    Returns:
        Mean PCK@0.2 on unseen figures in percent: before training and after.

    Raises:
        UserError: if the folder holds something already.
    """
    from keras_hourglass.data.figures import write_dataset
    from keras_hourglass.data.load import load_records
    from keras_hourglass.evaluation import evaluate
    from keras_hourglass.export import export_model
    from keras_hourglass.geometry import boxes_to_xywh
    from keras_hourglass.io.files import new_folder
    from keras_hourglass.prediction.predictor import Predictor
    from keras_hourglass.report import tables, write_report
    from keras_hourglass.training import build_model, load_recipe, train
    from keras_hourglass.zoo.store import load_model

    started = time.monotonic()
    out = new_folder(out, overwrite)
    for part in PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
    say(f"1. Drawing {figures} figures that the training will not see")
    write_dataset(out / "figures", figures, SEED)
    unseen = load_records(f"coco:{out / 'figures' / 'person_keypoints.json'}", skeleton="lsp")

    recipe = load_recipe(RECIPE, overrides)
    untrained = build_model(recipe, unseen.skeleton)
    before = evaluate(untrained, unseen, 0.2).pck.mean
    say(f"   a network with random weights finds {before:.1f} % of their joints (PCK@0.2)")

    say("2. Training a small network of two stacks with model.fit")
    train(recipe, out / "training", verbose=verbose)
    model = load_model(out / "training")

    say("3. Measuring it on the unseen figures")
    evaluation = evaluate(model, unseen, 0.2)
    facts = {"model": RECIPE, "data": f"{figures} generated figures", "command": COMMAND}
    write_report(evaluation, new_folder(out / "report"), model=model, facts=facts)
    for rows in (tables.stack_table(evaluation), tables.joint_table(evaluation)):
        say("\n" + tables.as_text(rows))
    say(f"\n   {tables.caption(evaluation)}: {before:.1f} -> {evaluation.pck.mean:.1f}")

    say("4. Exporting it for TensorFlow Serving and asking the export about a picture")
    served = export_model(model, out / "served", name=RECIPE)
    boxes = boxes_to_xywh(unseen.boxes)
    _ask(served, unseen.images[0], boxes[:1], model, say)

    say("5. Drawing what it sees")
    new_folder(out / "overlays")
    predictor = Predictor(model)
    for number, box in enumerate(boxes[:12]):
        [pose] = predictor(unseen.images[number], boxes=[box])
        pose.save(out / "overlays" / f"{number:02d}.png")
    say(f"6. Fine-tuning the shipped {SHIPPED} on joints of one's own")
    _fine_tune(out / "own_joints", overrides, say, verbose)
    _list_results(out, served, time.monotonic() - started, say)
    return before, evaluation.pck.mean


def _ask(served, picture, boxes, model, say):
    """Call the SavedModel as a server would: bytes and a person's box in, joints out."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(served))
    data = tf.constant([pathlib.Path(picture).read_bytes()])
    where = tf.constant(boxes, tf.float32)
    answer = loaded.signatures["predict_boxes"](image_bytes=data, boxes=where)
    for name, (x, y), score in list(
        zip(
            model.skeleton.joints,
            answer["keypoints"][0].numpy(),
            answer["scores"][0].numpy(),
            strict=True,
        )
    )[:3]:
        say(f"   {name}: x={x:.1f} y={y:.1f} px, score {score:.2f}")


def _fine_tune(folder, overrides, say, verbose):
    """What a user does with annotated pictures: own joints, a shipped network, before and after."""
    from keras_hourglass.data.figures import write_dataset
    from keras_hourglass.data.load import load_records
    from keras_hourglass.evaluation import evaluate
    from keras_hourglass.io.files import atomic_write
    from keras_hourglass.io.structured import read_json
    from keras_hourglass.report import tables
    from keras_hourglass.training import build_model, load_recipe, train
    from keras_hourglass.zoo.store import load_model

    annotations = {}
    for part, count, seed in (("train", 400, SEED + 1), ("test", 100, SEED + 2)):
        path = write_dataset(folder / part, count, seed)
        annotations[part] = path.with_name("own_joints.json")
        atomic_write(annotations[part], json.dumps(_with_own_joints(read_json(path))))
    spec = {part: f"coco:{path}" for part, path in annotations.items()}
    recipe = load_recipe(
        "custom_finetune",
        [
            f"model.preset={SHIPPED}",
            f"data.train={spec['train']}",
            f"data.validation={spec['test']}",
            "training.epochs=4",
            "training.frozen_epochs=1",
            "optimizer.learning_rate=2e-3",
            *(text for text in overrides if text.startswith("training.")),
        ],
    )
    unseen = load_records(spec["test"])
    # These joints have no torso: a quarter of the person box stands for it.
    unseen = unseen.with_columns(reference=unseen.boxes[:, 2] / 4)
    log = logging.getLogger("keras_hourglass")
    level = log.level
    log.setLevel(logging.ERROR)  # the training says it again
    untrained = build_model(recipe, unseen.skeleton)
    log.setLevel(level)
    before = evaluate(untrained, unseen, 0.2)
    train(recipe, folder / "training", verbose=verbose)
    after = evaluate(load_model(folder / "training"), unseen, 0.2)
    rows = [["joint", "before", "after"]]
    for joint in unseen.skeleton.joints:
        values = (before.pck.joints[joint], after.pck.joints[joint])
        rows.append([joint, *(tables.cell(value) for value in values)])
    rows.append(["mean", tables.cell(before.pck.mean), tables.cell(after.pck.mean)])
    say("\n" + tables.as_text(rows))
    say("   PCK@0.2 in percent, distances by a quarter of the person box")


def _with_own_joints(content):
    """The content of a COCO-keypoints file with the joints of `OWN_JOINTS`."""
    names = content["categories"][0]["keypoints"]
    content["categories"][0].update(keypoints=list(OWN_JOINTS), skeleton=[])
    for annotation in content["annotations"]:
        triples = annotation["keypoints"]
        known = {name: triples[3 * i : 3 * i + 3] for i, name in enumerate(names)}
        own = []
        for first, second in OWN_JOINTS.values():
            (x1, y1, seen1), (x2, y2, seen2) = known[first], known[second]
            labelled = seen1 > 0 and seen2 > 0
            own += [(x1 + x2) / 2, (y1 + y2) / 2, min(seen1, seen2)] if labelled else [0, 0, 0]
        annotation["keypoints"] = own
        annotation["num_keypoints"] = sum(visibility > 0 for visibility in own[2::3])
    return content


def _list_results(out, served, seconds, say):
    say(f"\nDone in {seconds / 60:.1f} minutes. Look at:")
    for path, what in (
        (out / "overlays", "pictures with the joints it found"),
        (out / "report" / "report.html", "tables, curves, best and worst figures"),
        (out / "training", "the trained network, its recipe and its log"),
        (served, "the SavedModel for TensorFlow Serving"),
        (out / "own_joints" / "training", "the network fine-tuned on other joints"),
        (out / "figures", "the figures it was measured on"),
    ):
        say(f"  {path}: {what}")
    say("Next: keras-hourglass predict PHOTO.jpg --out poses")
