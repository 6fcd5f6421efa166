"""The main job end to end on generated figures, as `keras-hourglass demo` shows it."""

import pathlib
import shutil
import time

from keras_hourglass.data.sources import load_records
from keras_hourglass.data.synthetic import write_dataset
from keras_hourglass.evaluation import evaluate
from keras_hourglass.export import export_model
from keras_hourglass.files import new_folder
from keras_hourglass.prediction import Predictor
from keras_hourglass.presets import load_model
from keras_hourglass.report import tables, write_report
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import build_data, build_model, train

RECIPE = "synthetic_demo"
SEED = 20160322  # of figures that neither training nor validation draws
PARTS = ("figures", "training", "report", "served", "overlays")


def demo(out, overwrite=False, overrides=(), figures=200, say=print):
    """Train, measure, export, serve and draw on figures nobody has seen.

    Args:
        out: folder for everything that is made.
        overwrite: replace the parts of an earlier demo in that folder.
        overrides: `section.key=value` strings for the recipe.
        figures: how many unseen figures to measure on.
        say: takes each line of the story.

    Returns:
        Mean PCK@0.2 on unseen figures in percent: before training and after.

    Raises:
        UserError: if the folder holds something already.
    """
    started = time.monotonic()
    out = new_folder(out, overwrite)
    for part in PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
    say(f"1. Drawing {figures} figures that the training will not see")
    write_dataset(out / "figures", figures, SEED)
    unseen = load_records(f"coco:{out / 'figures' / 'person_keypoints.json'}", skeleton="lsp")

    recipe = load_recipe(RECIPE, overrides)
    untrained = build_model(recipe, build_data(recipe)[0].records.skeleton)
    before = evaluate(untrained, unseen, 0.2).pck.mean
    say(f"   a network with random weights finds {before:.1f} % of their joints (PCK@0.2)")

    say("2. Training a small network of two stacks with model.fit")
    train(recipe, out / "training")
    model = load_model(out / "training")

    say("3. Measuring it on the unseen figures")
    evaluation = evaluate(model, unseen, 0.2)
    facts = {"model": RECIPE, "data": f"{figures} generated figures", "command": "demo"}
    write_report(evaluation, new_folder(out / "report"), model=model, facts=facts)
    for rows in (tables.stack_table(evaluation), tables.joint_table(evaluation)):
        say("\n" + tables.as_text(rows))
    say(f"\n   {tables.caption(evaluation)}: {before:.1f} -> {evaluation.pck.mean:.1f}")

    say("4. Exporting it for TensorFlow Serving and asking the export about a picture")
    served = export_model(model, out / "served", name=RECIPE)
    _ask(served, unseen.images[0], model, say)

    say("5. Drawing what it sees")
    new_folder(out / "overlays")
    for number, pose in enumerate(Predictor(model)(list(unseen.images[:12]))):
        pose.save(out / "overlays" / f"{number:02d}.png")
    _list_results(out, served, time.monotonic() - started, say)
    return before, evaluation.pck.mean


def _ask(served, picture, model, say):
    """Call the SavedModel as a server would: bytes in, joints out."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(served))
    data = tf.constant([pathlib.Path(picture).read_bytes()])
    answer = loaded.signatures["serving_default"](image_bytes=data)
    for name, (x, y), score in list(
        zip(
            model.skeleton.joints,
            answer["keypoints"][0].numpy(),
            answer["scores"][0].numpy(),
            strict=True,
        )
    )[:3]:
        say(f"   {name}: x={x:.1f} y={y:.1f} px, score {score:.2f}")


def _list_results(out, served, seconds, say):
    say(f"\nDone in {seconds / 60:.1f} minutes. Look at:")
    for path, what in (
        (out / "overlays", "pictures with the joints it found"),
        (out / "report" / "report.html", "tables, curves, best and worst figures"),
        (out / "training", "the trained network, its recipe and its log"),
        (served, "the SavedModel for TensorFlow Serving"),
        (out / "figures", "the figures it was measured on"),
    ):
        say(f"  {path}: {what}")
    say(f"Next: keras-hourglass predict --model {out / 'training'} PHOTO.jpg --out poses")
