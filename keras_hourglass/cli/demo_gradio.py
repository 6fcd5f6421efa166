"""A local web page to try models on photographs (Gradio, extra `[demo]`)."""

import json
import os
import time

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.boxes import as_rectangles
from keras_hourglass.prediction.drawing import draw_poses
from keras_hourglass.prediction.pose import picture_to_dict
from keras_hourglass.prediction.predictor import Predictor
from keras_hourglass.prediction.writing import pose_sheet
from keras_hourglass.zoo.store import load_model

# Dragging over the photo fills the box field, in pixels of the photo.
DRAG_A_BOX = """
<style>
  #photo img { cursor: crosshair; }
  #dragged { position: absolute; border: 2px solid #e68b00; outline: 1px solid #101010;
             background: #e68b0022; pointer-events: none; z-index: 10; }
</style>
<script>
(() => {
  let image = null, start = null, frame = null;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const inside = (event) => {
    const edge = image.getBoundingClientRect();
    // The picture is fitted into its element and centred there.
    const scale = Math.min(edge.width / image.naturalWidth, edge.height / image.naturalHeight);
    const left = edge.left + (edge.width - image.naturalWidth * scale) / 2;
    const top = edge.top + (edge.height - image.naturalHeight * scale) / 2;
    return { left, top, scale, x: clamp((event.clientX - left) / scale, image.naturalWidth),
             y: clamp((event.clientY - top) / scale, image.naturalHeight) };
  };
  const rectangle = (point) => [Math.min(start.x, point.x), Math.min(start.y, point.y),
    Math.abs(start.x - point.x), Math.abs(start.y - point.y)];
  const write = (text) => {
    const field = document.querySelector('#box textarea, #box input');
    if (!field) return;
    const proto = field.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(proto.prototype, 'value').set.call(field, text);
    field.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const clear = () => { if (frame) frame.remove(); frame = null; };
  document.addEventListener('dragstart', (event) => {
    if (event.target.closest && event.target.closest('#photo img')) event.preventDefault();
  });
  document.addEventListener('pointerdown', (event) => {
    const found = event.target.closest && event.target.closest('#photo img');
    if (!found || event.button) return;
    event.preventDefault();
    clear();
    image = found;
    start = inside(event);
    frame = document.createElement('div');
    frame.id = 'dragged';
    document.body.appendChild(frame);
  });
  document.addEventListener('pointermove', (event) => {
    if (!start) return;
    const point = inside(event), [x, y, width, height] = rectangle(point);
    Object.assign(frame.style, { left: `${point.left + x * point.scale + scrollX}px`,
      top: `${point.top + y * point.scale + scrollY}px`, width: `${width * point.scale}px`,
      height: `${height * point.scale}px` });
  });
  document.addEventListener('pointerup', (event) => {
    if (!start) return;
    const values = rectangle(inside(event)).map(Math.round);
    start = null;
    // A click without dragging takes the whole picture again.
    if (values[2] < 4 || values[3] < 4) { clear(); write(''); } else write(values.join(', '));
  });
  document.addEventListener('scroll', clear, true);
  window.addEventListener('resize', clear);
})();
</script>
"""


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

            predictor = Predictor(self.model(name), stack=stack, flip=flip, heatmaps=True)
            predictor.predict_crops(np.zeros((1, *predictor.input_size, 3), np.uint8))
            self._loaded[key] = predictor
        return self._loaded[key]

    def predict(self, photo, box, name, stack, flip):
        """Predict one person.

        Args:
            photo: path of the uploaded file, or `None`.
            box: text `x, y, w, h` in source pixels; empty for the whole picture.
            name: a model of the page.
            stack: which stack's heatmaps count; `None` for the last.
            flip: average with the mirrored picture.

        Returns:
            The painted photo, the heatmap sheet (RGB arrays), a line of facts and the JSON
            document as text.

        Raises:
            UserError: if there is no photo or the box is none.
        """
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
        [pose] = result.poses
        facts = (
            f"**{seconds * 1000:.0f} ms** from file to joints · "
            f"{int(pose.present.sum())} of {len(pose.names)} joints present · "
            f"mean score {pose.score:.2f} · "
            f"{result.image.shape[1]}×{result.image.shape[0]} pixels"
        )
        document = picture_to_dict(None, [pose], predictor.skeleton)
        painted = draw_poses(result.image, [pose], boxes=boxes is not None)
        sheet = pose_sheet(result.image, pose, predictor.input_size)
        return painted, sheet, facts, json.dumps(document, indent=1)


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
        import gradio
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
            "## Stacked hourglass\nDrop a photo. Drag a box around one person, or click once to "
            "take the whole picture. Nothing leaves this machine."
        )
        with gradio.Row():
            with gradio.Column():
                photo = gradio.Image(
                    type="filepath", sources=["upload", "clipboard"], label="Photo",
                    elem_id="photo", height=420,
                )  # fmt: skip
                box = gradio.Textbox(
                    label="Box: x, y, w, h (pixels of the photo)", elem_id="box",
                    placeholder="the whole picture",
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
                    "their threshold are left out."
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
    return page, {"head": DRAG_A_BOX}
