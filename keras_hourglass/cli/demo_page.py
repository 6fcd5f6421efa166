"""`keras-hourglass demo-page`: a local web page to try models on photographs (Gradio).

It needs the extra `[demo]`.
"""

import importlib.resources
import json
import os
import time

from keras_hourglass.errors import UserError, optional


def add_arguments(parser):
    """The options of the command."""
    parser.add_argument(
        "--model", action="append", metavar="NAME_OR_PATH",
        help="a model to choose from; repeat it for several (default: those with weights)",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: 7860)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(args):
    """Serve the page until Ctrl-C."""
    from keras_hourglass.zoo.store import list_presets

    models = args.model or [preset["name"] for preset in list_presets() if preset.get("weights")]
    page, options = build_page(models)
    try:
        page.launch(
            server_name=args.host, server_port=args.port, inbrowser=args.open, share=False,
            **options,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"The page cannot be served ({error}). Choose another --port.") from error
    return 0


class Demo:
    """What the page calls: models are loaded when first chosen.

    Args:
        models: names or paths of models.
    """

    def __init__(self, models):
        if not models:
            raise UserError("The page needs a model. Received: none. Name one with --model.")
        self.models = [str(model) for model in models]
        self._loaded = {}

    def model(self, name):
        """The model of a name, loaded once."""
        if name not in self.models:  # a request may hold anything
            raise UserError(f"This page offers {', '.join(self.models)}. Received: {name!r}.")
        if name not in self._loaded:
            from keras_hourglass.zoo.store import load_model

            self._loaded[name] = load_model(name)
        return self._loaded[name]

    def stacks(self, name):
        """The stacks to choose from, the last first."""
        return list(range(self.model(name).num_stacks, 0, -1))

    def predictor(self, name, stack, flip):
        """A predictor that has run once, so that the next run is timed fairly."""
        key = name, stack, flip
        if key not in self._loaded:
            import numpy as np

            from keras_hourglass.prediction.predictor import Predictor

            options = {"engine": "fastest", "heatmaps": True}
            predictor = Predictor(self.model(name), stack=stack, flip=flip, **options)
            predictor.predict_crops(np.zeros((1, *predictor.input_size, 3), np.uint8))
            self._loaded[key] = predictor
        return self._loaded[key]

    def predict(self, photo, box, name, stack, flip):
        """Predict everybody, or the person in a box.

        Args:
            photo: path of the uploaded file, or `None`.
            box: text `x, y, w, h` in source pixels; empty for everybody who is found.
            name: a model of the page.
            stack: which stack's heatmaps count; `None` for the last.
            flip: average with the mirrored picture.

        Returns:
            The painted photo, the heatmap sheet (RGB arrays), a line of facts and the JSON
            document as text.

        Raises:
            UserError: if there is no photo or the box is none.
        """
        from keras_hourglass.prediction.boxes import as_rectangles
        from keras_hourglass.prediction.writing import pose_sheet

        if not photo:
            raise UserError("Drop a photo first.")
        boxes = None
        if box and box.strip():
            try:
                boxes = as_rectangles([float(part) for part in box.split(",")])
            except ValueError:
                raise UserError(f"A box is x, y, w, h in pixels. Received: {box!r}.") from None
        predictor = self.predictor(name, int(stack) if stack else None, bool(flip))
        start = time.perf_counter()
        [result] = predictor.stream(photo, boxes)
        seconds = time.perf_counter() - start
        pose = result[0]  # the surest
        facts = (
            f"**{seconds * 1000:.0f} ms** from file to joints · {_who(result)} · "
            f"{int(pose.present.sum())} of {len(pose.names)} joints present · "
            f"mean score {pose.score:.2f} · "
            f"{result.image.shape[1]}×{result.image.shape[0]} pixels"
        )
        document = {**result.to_dict(), "image": None}
        painted = result.draw(boxes=not result.alone)
        sheet = pose_sheet(result.image, pose, predictor.input_size)
        return painted, sheet, facts, json.dumps(document, indent=1)


def _who(result):
    """How many people there are, in words."""
    if result.alone:
        sure = "one person fills it" if result[0].sure else "no person is sure"
        return f"nobody found in parts of the photo, {sure}"
    return "1 person" if len(result) == 1 else f"{len(result)} people, of the surest:"


def build_page(models):
    """The page, not yet served.

    Args:
        models: names or paths of models to choose from.

    Returns:
        A `gradio.Blocks`, and the keyword arguments for its `launch`.

    Raises:
        UserError: if Gradio is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        gradio = optional("gradio")
    except ImportError as error:
        raise UserError(
            f"The page needs Gradio, which is not installed ({error}). "
            "Run: pip install 'keras_hourglass[demo]'."
        ) from error
    demo = Demo(models)
    stacks = demo.stacks(demo.models[0])

    def predict(*inputs):
        try:
            return demo.predict(*inputs)
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error

    def choose(name):
        numbers = demo.stacks(name)
        return gradio.update(choices=numbers, value=numbers[0])

    buttons = ["download", "fullscreen"]  # and none that uploads the picture to share it
    with gradio.Blocks(title="keras_hourglass") as page:
        gradio.Markdown(
            "## Stacked hourglass\nDrop a photo to see everybody in it. Drag a box to look at one "
            "person, or click once to forget it. Nothing leaves this machine."
        )
        with gradio.Row():
            with gradio.Column():
                photo = gradio.Image(
                    type="filepath", sources=["upload", "clipboard"], label="Photo",
                    elem_id="photo", height=420,
                )  # fmt: skip
                box = gradio.Textbox(
                    label="Box: x, y, w, h (pixels of the photo)", elem_id="box",
                    placeholder="everybody who is found",
                )  # fmt: skip
                with gradio.Row():
                    model = gradio.Dropdown(demo.models, value=demo.models[0], label="Model")
                    stack = gradio.Dropdown(stacks, value=stacks[0], label="Stack")
                flip = gradio.Checkbox(True, label="Average with the mirrored picture")
                button = gradio.Button("Predict", variant="primary", elem_id="predict")
            with gradio.Column():
                painted = gradio.Image(
                    label="Skeleton", elem_id="painted", height=420, buttons=buttons
                )
                facts = gradio.Markdown(elem_id="facts")
                gradio.Markdown(
                    "Left is blue, right is orange (the person's own sides); joints below "
                    "their threshold are left out, skeletons that are not sure are pale."
                )
        sheet = gradio.Image(label="Heatmaps", elem_id="sheet", buttons=buttons)
        with gradio.Accordion("JSON", open=False):
            document = gradio.Code(language="json", elem_id="document")
        inputs = [photo, box, model, stack, flip]
        outputs = [painted, sheet, facts, document]
        model.change(choose, model, stack)
        photo.change(lambda: "", None, box)
        photo.upload(predict, inputs, outputs)
        button.click(predict, inputs, outputs, api_name="predict")
    return page, {"head": _drag_a_box()}


def _drag_a_box():
    """What lets a box be dragged over the photo, for the head of the page."""
    folder = importlib.resources.files("keras_hourglass.cli") / "templates"
    style, script = (
        (folder / f"drag_a_box.{suffix}").read_text(encoding="utf-8") for suffix in ("css", "js")
    )
    return f"<style>\n{style}</style>\n<script>\n{script}</script>\n"
