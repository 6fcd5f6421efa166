"""The stacked hourglass network as a functional `keras.Model`."""

import copy

import keras

from keras_hourglass.errors import UserError
from keras_hourglass.layers import Hourglass, IntermediateSupervision, Stem
from keras_hourglass.layers.common import check_positive
from keras_hourglass.skeletons import get_skeleton

# name -> (filters of the convolution, residuals before pooling, residuals after pooling);
# None stands for `num_features`.
STEMS = {
    "newell": (64, (128,), (128, None)),
    "bearpaw": (64, (128,), (None, None)),
    "paper": (64, (128,), (128, 128, None)),
}
SUPERVISIONS = ("all", "last", "sum", "inner")


@keras.saving.register_keras_serializable(package="keras_hourglass")
class StackedHourglass(keras.Model):
    """Stacked hourglass network: one person's crop in, heatmaps of every stack out.

    Args:
        num_keypoints: K, the number of joints; taken from `skeleton` if that is given.
        num_stacks: S, the number of hourglasses.
        num_features: channels of the features between hourglasses.
        num_blocks: residuals at each position.
        depth: levels of each hourglass; 64×64 features are pooled down to 4×4 with 4.
        input_shape: `(height, width, 3)` of the crop in input pixels, multiples of
            `4 * 2 ** depth`.
        stem: `"newell"` (64, 128, pool, 128, F), `"bearpaw"` (64, 128, pool, F, F), `"paper"`
            (64, 128, pool, 128, 128, F), or widths of your own
            `(convolution, (before pooling, ...), (after pooling, ...))`.
        hourglass: further arguments of every `Hourglass` (`upper`, `lower`, `bottom`, `after`,
            `filters`).
        heads: widths of the 1×1 conv-BN-ReLU of each stack, a list of S tuples; by default one
            of `num_features` after `num_blocks` residuals.
        merge: how the features of a stack enter the next, see `IntermediateSupervision`.
        supervision: `"all"`: every stack yields heatmaps; `"last"`: the last one only, nothing
            is fed back from heatmaps; `"sum"`: the stacks' heatmaps are added into one output;
            `"inner"`: besides all stacks, also the lower resolutions on the way up inside each
            hourglass, as outputs `stack_1_stride_8`, ….
        skeleton: name, `Skeleton` or dict that names the joints; kept in the config.
        scale, offset: pixels are normalised as `pixel * scale + offset`, the offset a number
            or one per channel, as the first layer.
        synchronized: take batch statistics over all replicas of a distributed training.
        metadata: what travels with the model without being part of the network, a JSON-ready
            dict: `"preprocessing"` (`padding` of the person box, `sigma` in heatmap pixels),
            `"thresholds"` (joint name -> least score of a joint that is there), `"card"`.
        name: name of the model.
        dtype: dtype policy of the model; the global policy by default. Heatmaps are float32
            in any case.

    Input shape:
        `(batch, height, width, 3)` RGB pixels, 0–255, any numeric dtype.

    Output shape:
        A dict `{"stack_1": ..., "stack_S": ...}` of float32 heatmaps
        `(batch, height / 4, width / 4, K)`.

    Raises:
        UserError: if an argument is out of range or the input size does not fit.

    Example:

    >>> model = StackedHourglass(num_keypoints=5, num_features=16, input_shape=(128, 64, 3))
    >>> {name: tuple(output.shape) for name, output in model.output.items()}
    {'stack_1': (None, 32, 16, 5), 'stack_2': (None, 32, 16, 5)}

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937).
    """

    def __init__(
        self,
        num_keypoints=None,
        num_stacks=2,
        num_features=256,
        num_blocks=1,
        depth=4,
        input_shape=(256, 256, 3),
        stem="newell",
        hourglass=None,
        heads=None,
        merge="add",
        supervision="all",
        skeleton=None,
        scale=1 / 255,
        offset=-0.5,
        synchronized=False,
        metadata=None,
        name="stacked_hourglass",
        dtype=None,
        **kwargs,
    ):
        skeleton = get_skeleton(skeleton) if skeleton is not None else None
        if num_keypoints is None:
            num_keypoints = skeleton.num_joints if skeleton else 16
        if skeleton and skeleton.num_joints != num_keypoints:
            raise UserError(
                f"The skeleton {skeleton.name!r} has {skeleton.num_joints} joints. Received: "
                f"num_keypoints={num_keypoints}. Leave one of the two out."
            )
        config = {
            "num_keypoints": num_keypoints,
            "num_stacks": num_stacks,
            "num_features": num_features,
            "num_blocks": num_blocks,
            "depth": depth,
            "input_shape": list(input_shape),
            "stem": stem if isinstance(stem, str) else _as_lists(stem),
            "hourglass": {key: _as_lists(value) for key, value in (hourglass or {}).items()},
            "heads": None if heads is None else _as_lists(heads),
            "merge": merge,
            "supervision": supervision,
            "skeleton": skeleton.to_dict() if skeleton else None,
            "scale": scale,
            "offset": offset if isinstance(offset, (int, float)) else list(offset),
            "synchronized": synchronized,
            "metadata": copy.deepcopy(dict(metadata or {})),
        }
        _check(config)
        inputs, outputs = _build(config, dtype)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self._config = config
        self._policy_argument = dtype

    @property
    def num_keypoints(self):
        """K, the number of joints."""
        return self._config["num_keypoints"]

    @property
    def num_stacks(self):
        """S, the number of hourglasses."""
        return self._config["num_stacks"]

    @property
    def skeleton(self):
        """The `Skeleton` the model was built with, or `None`."""
        values = self._config["skeleton"]
        return get_skeleton(values) if values else None

    @property
    def input_size(self):
        """`(height, width)` of the crop, in input pixels."""
        return tuple(self._config["input_shape"][:2])

    @property
    def stride(self):
        """Input pixels per heatmap pixel."""
        return 4

    @property
    def metadata(self):
        """What travels with the model: dicts `preprocessing`, `thresholds` and `card`."""
        return self._config["metadata"]

    @property
    def preprocessing(self):
        """How crops are made for this model: `padding` of the person box, `sigma`, ….  A dict."""
        return self.metadata.get("preprocessing", {})

    @property
    def thresholds(self):
        """Joint name -> least score of a joint that counts as present. A dict, perhaps empty."""
        return self.metadata.get("thresholds", {})

    @classmethod
    def from_preset(cls, source, **options):
        """Load a model by preset name, folder, `.keras` file or address.

        Args:
            source: see `keras_hourglass.presets.load_model`, which this calls.
            **options: `num_keypoints`, `skeleton`, `load_weights`, ….

        Returns:
            The model, not compiled.
        """
        from keras_hourglass.presets import load_model

        return load_model(source, **options)

    def save_to_preset(self, folder, preprocessing=None, thresholds=None, card=None, **options):
        """Write config, weights and card into a folder that `from_preset` loads anywhere.

        Args:
            folder: where to; see `keras_hourglass.presets.save_preset`, which this calls.
            preprocessing: how crops are made, a dict; the model's own by default.
            thresholds: joint name -> least score of a present joint; the model's own by default.
            card: facts for the model card, a dict; the model's own by default.
            **options: `dtype` of the stored weights, `overwrite`.
        """
        from keras_hourglass.presets import save_preset

        save_preset(self, folder, preprocessing, thresholds, card, **options)

    def get_config(self):
        dtype = self._policy_argument
        if dtype is not None and not isinstance(dtype, str):
            dtype = getattr(dtype, "name", None)
        return {**self._config, "name": self.name, "dtype": dtype}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{key: value for key, value in config.items() if key != "trainable"})


def _as_lists(value):
    """Tuples as lists at every level, so that a config survives JSON unchanged."""
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def _check(config):
    """Refuse impossible arguments before Keras meets them."""
    for name in ("num_keypoints", "num_stacks", "num_features", "num_blocks", "depth"):
        try:
            check_positive(name, config[name])
        except ValueError as error:
            raise UserError(str(error)) from None
    if config["num_features"] % 2:
        raise UserError(
            "`num_features` must be even, since residuals halve it inside. "
            f"Received: num_features={config['num_features']}"
        )
    for name, choices in (("supervision", SUPERVISIONS), ("merge", ("add", "concat"))):
        if config[name] not in choices:
            raise UserError(
                f"Expected `{name}` to be one of {choices}. Received: {name}={config[name]!r}"
            )
    if isinstance(config["stem"], str) and config["stem"] not in STEMS:
        raise UserError(
            f"Unknown stem. Received: stem={config['stem']!r}. Choose one of {tuple(STEMS)} or "
            "pass widths (convolution, (before pooling, ...), (after pooling, ...))."
        )
    check_input_size(config["input_shape"], config["depth"])


def check_input_size(input_shape, depth=4):
    """Refuse an input whose height or width the network cannot halve often enough.

    Args:
        input_shape: `(height, width, channels)` in input pixels.
        depth: levels of the hourglasses.

    Raises:
        UserError: with the multiple that is needed and the nearest sizes that fit.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or any(
        isinstance(edge, bool) or not isinstance(edge, int) for edge in shape
    ):
        raise UserError(
            f"`input_shape` is (height, width, channels) in pixels. Received: {shape}. "
            "Pass three integers, e.g. (256, 256, 3)."
        )
    multiple = 4 * 2**depth
    if any(edge <= 0 or edge % multiple for edge in shape[:2]):
        nearest = [
            sorted(
                {
                    max(multiple, edge // multiple * multiple),
                    max(edge, 0) // multiple * multiple + multiple,
                }
            )
            for edge in shape[:2]
        ]
        raise UserError(
            f"Height and width must be multiples of {multiple} (stride 4, depth {depth}). "
            f"Received: {shape[0]}×{shape[1]}. Nearest heights that fit: "
            f"{' or '.join(map(str, nearest[0]))}; widths: {' or '.join(map(str, nearest[1]))}."
        )


def _stem_widths(stem, num_features):
    first, before, after = STEMS[stem] if isinstance(stem, str) else stem
    return first, list(before), [num_features if width is None else width for width in after]


def _build(config, dtype):
    """The functional graph: inputs and the dict of outputs."""
    stacks, features = config["num_stacks"], config["num_features"]
    heads = config["heads"] or [[features]] * stacks
    inputs = keras.Input(tuple(config["input_shape"]), name="image")
    # float32, since bfloat16 cannot hold all pixel values between integers.
    x = keras.layers.Rescaling(
        config["scale"], config["offset"], name="normalize", dtype="float32"
    )(inputs)
    shared = {"synchronized": config["synchronized"], "dtype": dtype}
    x, pooled = Stem(
        *_stem_widths(config["stem"], features), return_pooled=True, name="stem", **shared
    )(x)
    predicted = {}
    for stack in range(1, stacks + 1):
        last = stack == stacks
        hourglass = Hourglass(
            **{"filters": features, **config["hourglass"]},
            depth=config["depth"],
            num_blocks=config["num_blocks"],
            name=f"hourglass_{stack}",
            **shared,
        )
        head = IntermediateSupervision(
            config["num_keypoints"],
            heads[stack - 1],
            num_blocks=config["num_blocks"] if config["heads"] is None else 0,
            merge=None if last else config["merge"],
            name=f"supervision_{stack}",
            **shared,
        )
        y = hourglass(x)
        if last:
            heatmaps = head(y)
        else:
            heatmaps, x = head([y, pooled if config["merge"] == "concat" else x])
        predicted[f"stack_{stack}"] = heatmaps
    outputs = {
        # A named identity, so that losses and logs are called stack_1, stack_2, ….
        name: keras.layers.Activation("linear", name=name, dtype="float32")(heatmaps)
        for name, heatmaps in predicted.items()
    }
    return inputs, outputs
