"""The signatures of a served model, as one `tf.Module`."""

import json

import tensorflow as tf

from keras_hourglass.export.decoding import decode, merge_flipped
from keras_hourglass.export.pictures import MAX_PIXELS, PictureReader
from keras_hourglass.inference import fold
from keras_hourglass.inference.tensorflow_graph import Network


class ServedModel(tf.Module):
    """Pictures as bytes in, joints in source pixels out.

    Args:
        model: the `StackedHourglass`.
        codec: the `HeatmapCodec` whose decoding is used.
        flip_order: the mirror permutation to average mirrored heatmaps with, or `None` for none.
        thresholds: K least scores of present joints.
        metadata: dict that the signature `metadata` returns as JSON.
        max_pixels: pictures with more pixels are refused before decoding.
    """

    def __init__(self, model, codec, flip_order, thresholds, metadata=None, max_pixels=MAX_PIXELS):
        super().__init__(name="keras_hourglass")
        program = fold(model)
        self._names = list(program.outputs)
        self._last = f"stack_{model.num_stacks}"
        self._network = Network(program)
        self._reader = PictureReader(codec.input_size, max_pixels)
        self._codec, self._flip_order = codec, flip_order
        self._thresholds = [float(value) for value in thresholds]
        self._metadata = json.dumps(metadata or {})
        self._crops = tf.TensorSpec((None, *codec.input_size, 3), tf.float32, "images")

    def signatures(self):
        """Name -> concrete function of every signature."""
        encoded = tf.TensorSpec((None,), tf.string, "image_bytes")
        boxes = tf.TensorSpec((None, 4), tf.float32, "boxes")
        functions = {
            "serving_default": (self.predict, encoded),
            "predict_boxes": (self.predict_boxes, encoded, boxes),
            "heatmaps": (self.heatmaps, self._crops),
            "metadata": (self.metadata, tf.TensorSpec((None,), tf.string, "query")),
        }
        return {
            name: tf.function(function, autograph=False).get_concrete_function(*specs)
            for name, (function, *specs) in functions.items()
        }

    def predict(self, image_bytes):
        """`serving_default`: one person who fills each picture."""
        return self._joints(*self._reader(image_bytes))

    def predict_boxes(self, image_bytes, boxes):
        """`predict_boxes`: the person in a box `x, y, w, h` of each picture."""
        return self._joints(*self._reader(image_bytes, boxes))

    def heatmaps(self, images):
        """`heatmaps`: crops to the maps of every stack, without mirror averaging."""
        return self._run(images, self._names)

    def metadata(self, query):
        """`metadata`: for any strings, the same JSON document each: joint names, sizes, …."""
        return {"json": tf.fill(tf.shape(query), self._metadata)}

    def _joints(self, crops, back, valid):
        heatmaps = self._merged(crops)
        keypoints, scores = decode(self._codec, heatmaps)
        keypoints = keypoints * back[:, None, :1] + back[:, None, 1:]
        scores = tf.where(valid[:, None], scores, float("nan"))
        present = scores >= tf.constant(self._thresholds)
        return {"keypoints": keypoints, "scores": scores, "present": present, "valid": valid}

    def _merged(self, crops):
        if self._flip_order is None:
            return self._run(crops, [self._last])[self._last]
        both = self._run(tf.concat([crops, tf.reverse(crops, [2])], 0), [self._last])
        heatmaps, flipped = tf.split(both[self._last], 2)
        return merge_flipped(heatmaps, flipped, self._flip_order)

    def _run(self, crops, names):
        """The network; an empty batch runs one black crop, since oneDNN's kernels take none."""
        count = tf.shape(crops)[0]
        missing = tf.maximum(1 - count, 0)
        crops = tf.pad(crops, [(0, missing), (0, 0), (0, 0), (0, 0)])
        return {name: maps[:count] for name, maps in self._network(crops, names).items()}
