"""A SavedModel from the bytes of photographs to everybody in them, in TensorFlow's operations."""

import json

import tensorflow as tf

from keras_hourglass.export.everybody import everybody
from keras_hourglass.export.in_graph import decode_file, upright
from keras_hourglass.export.operations import TensorFlowOperations
from keras_hourglass.inference.tensorflow_graph import Network, constants_pay

# What is said of each person: dtype, and the shape of one, where None is the number of joints.
_COLUMNS = {
    "boxes": (tf.float32, (4,)),
    "box_scores": (tf.float32, ()),
    "keypoints": (tf.float32, (None, 2)),
    "scores": (tf.float32, (None,)),
    "present": (tf.bool, (None,)),
    "person_scores": (tf.float32, ()),
    "sure": (tf.bool, ()),
}


class ServedPeople(tf.Module):
    """Photographs as bytes in, everybody's boxes, joints and scores out.

    Args:
        programs: `"joints"`, `"finder0"`, … -> folded `Program`.
        finder, joints: the `everybody.Finder` and `everybody.Joints` of these.
        description: dict that the signature `metadata` returns as JSON.
        max_pixels: pictures with more pixels are refused before decoding.
    """

    def __init__(self, programs, finder, joints, description, max_pixels):
        super().__init__(name="keras_hourglass_people")
        self._networks = {
            name: Network(program, constants_pay(program)) for name, program in programs.items()
        }
        self._finder, self._joints = finder, joints
        self._metadata, self._max_pixels = json.dumps(description), max_pixels
        number = len(joints.skeleton.joints)
        self._specs = {
            name: (dtype, tuple(number if edge is None else edge for edge in shape))
            for name, (dtype, shape) in _COLUMNS.items()
        }

    def signatures(self):
        """Name -> concrete function of every signature."""
        encoded = tf.TensorSpec((None,), tf.string, "image_bytes")
        query = tf.TensorSpec((None,), tf.string, "query")
        return {
            name: tf.function(function, autograph=False).get_concrete_function(spec)
            for name, function, spec in (
                ("serving_default", self.predict, encoded),
                ("metadata", self.metadata, query),
            )
        }

    def metadata(self, query):
        """`metadata`: for any strings, the same JSON document each."""
        return {"json": tf.fill(tf.shape(query), self._metadata)}

    def predict(self, image_bytes):
        """`serving_default`: the P people of N photographs, those of the first one first."""
        # One photograph after the other, so that memory does not grow with them.
        specs = {
            name: tf.RaggedTensorSpec((None, *shape), dtype, ragged_rank=0)
            for name, (dtype, shape) in self._specs.items()
        }
        flag = tf.TensorSpec((), tf.bool)
        found = tf.map_fn(
            self._people,
            image_bytes,
            parallel_iterations=1,
            fn_output_signature={**specs, "alone": flag, "valid": flag},
        )
        rows = {name: found[name].merge_dims(0, 1) for name in specs}
        for name, (_, shape) in self._specs.items():
            rows[name] = tf.ensure_shape(rows[name], (None, *shape))
        picture = tf.cast(found["boxes"].value_rowids(), tf.int32)
        return {**rows, "picture": picture, "alone": found["alone"], "valid": found["valid"]}

    def _people(self, encoded):
        image = self._read(encoded)
        valid = tf.size(image) > 0

        def found():
            return everybody(self._operations(), image, self._finder, self._joints)

        def nobody():
            rows = {name: tf.zeros((0, *shape), dtype) for name, (dtype, shape) in
                    self._specs.items()}  # fmt: skip
            return {**rows, "alone": tf.constant(False)}

        result = tf.cond(valid, found, nobody)
        return {**result, "valid": valid}

    def _operations(self):
        def run(name):
            network = self._networks[name]
            last = list(network.outputs)[-1]
            return lambda images: network(images, [last])[last]

        return TensorFlowOperations({name: run(name) for name in self._networks})

    def _read(self, encoded):
        """The upright picture, one without pixels where the file cannot be used."""
        data = tf.data.Dataset.from_tensors(encoded).map(
            lambda one: upright(*decode_file(one, self._max_pixels))
        )
        # The one construct of a TensorFlow graph that contains the failure of a kernel.
        nothing = tf.data.Dataset.from_tensors(tf.zeros((0, 0, 3), tf.uint8))
        return data.ignore_errors().concatenate(nothing).take(1).get_single_element()
