"""The stacked hourglass network as a functional `keras.Model`."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import keras

from keras_hourglass.compat import BATCHES, IN_KERAS_3, policy_config, policy_named
from keras_hourglass.errors import UserError, refuse_unknown
from keras_hourglass.layers.block import freeze_inside, frozen_inside, make_layer
from keras_hourglass.network.compiling import (
    build_optimizer,
    losses_for,
    metrics_for,
    say_tracing,
    trace_once,
)
from keras_hourglass.network.config import DEFAULTS, STRIDE, output_strides, stack_names
from keras_hourglass.network.graph import Graph, Snapshot
from keras_hourglass.network.variables import arrays_of
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Path, Size

# Attributes that Keras would look through for variables and layers: after every step of `fit` on
# JAX, a thousand arrays, in the time of Python that readers of pictures want; and a teacher, whose
# layers are none of the network's.
_NOT_TRACKED = ("_jax_state", "_distillation")


class _Presets:
    """Every preset by its name, read when it is asked for; see `zoo.list_presets`."""

    def __get__(self, model, owner):
        from keras_hourglass.zoo.store import preset_table

        return preset_table()

    def __set__(self, model, value):
        # Without it, documentation takes the attribute for a method.
        raise AttributeError("presets is what comes with the package and cannot be set.")


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
        supervision: `"all"`: every stack yields heatmaps and feeds them to the next (the paper's
            HG-Stacked-Int); `"last"`: only the last stack has heatmaps (HG-Stacked); `"sum"`: as
            `"all"`, but the stacks' heatmaps are added into a single output for a single loss
            (HG-Stacked-Add); `"inner"`: as `"all"`, and besides, the two next highest resolutions
            on the way up inside each hourglass yield heatmaps of their own (HG-Int).
        skeleton: name, `Skeleton`, dict or list of joints that names them; kept in the config.
        scale, offset: pixels are normalised as `pixel * scale + offset`, the offset a number
            or one per channel, as the first layer.
        synchronized: take batch statistics over all replicas of a distributed training.
        metadata: what travels with the model without being part of the network, a JSON-ready
            dict: `"preprocessing"` (`padding` of the person box, `sigma` in heatmap pixels,
            `decoder`), `"thresholds"` (joint name -> least score of a joint that is there) and
            `"card"`.
        name: name of the model.
        dtype: dtype policy of the model; the global policy by default. Heatmaps are float32
            in any case.

    Input shape:
        `(batch, height, width, 3)` RGB pixels, 0–255, any numeric dtype.

    Output shape:
        A dict `{"stack_1": ..., "stack_S": ...}` of float32 heatmaps
        `(batch, height / 4, width / 4, K)`; with supervision `"last"` or `"sum"` only
        `"stack_S"`; with `"inner"` also `"stack_1_stride_8"` `(batch, height / 8, width / 8, K)`
        and `"stack_1_stride_16"`, for each stack.

    Raises:
        UserError: if an argument is out of range or the input size does not fit.

    Example:

    >>> model = StackedHourglass(num_keypoints=5, num_features=16, input_shape=(128, 64, 3))
    >>> {name: tuple(output.shape) for name, output in model.output.items()}
    {'stack_1': (None, 32, 16, 5), 'stack_2': (None, 32, 16, 5)}

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), sections 3 and 4.2.
    """

    # Name of each preset -> its `description`, `params`, and whether it is `trained`.
    presets = _Presets()

    def __init__(
        self,
        num_keypoints: int | None = None,
        num_stacks: int = 2,
        num_features: int = 256,
        num_blocks: int = 1,
        depth: int = 4,
        input_shape: Sequence[int] = (256, 256, 3),
        stem: str | Sequence = "newell",
        hourglass: dict | None = None,
        heads: Sequence[int | Sequence[int]] | None = None,
        merge: str = "add",
        supervision: str = "all",
        skeleton: Skeleton | str | dict | Sequence[str] | None = None,
        scale: float = 1 / 255,
        offset: float | Sequence[float] = -0.5,
        synchronized: bool = False,
        metadata: dict | None = None,
        name: str = "stacked_hourglass",
        dtype: Any = None,
        **kwargs,
    ):
        refuse_unknown("StackedHourglass", kwargs, (*DEFAULTS, "name", "dtype", "trainable"))
        graph = Graph(
            {
                "num_keypoints": num_keypoints,
                "num_stacks": num_stacks,
                "num_features": num_features,
                "num_blocks": num_blocks,
                "depth": depth,
                "input_shape": input_shape,
                "stem": stem,
                "hourglass": hourglass,
                "heads": heads,
                "merge": merge,
                "supervision": supervision,
                "skeleton": skeleton,
                "scale": scale,
                "offset": offset,
                "synchronized": synchronized,
                "metadata": metadata,
            }
        )
        policy = policy_named(dtype)
        inputs, outputs = _build(graph, policy)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self._graph = graph
        self._own_policy = policy
        self._distillation: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NOT_TRACKED:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def graph(self) -> Graph:
        """The network as a list of nodes, of which this model was built."""
        return self._graph

    @property
    def num_keypoints(self) -> int:
        """K, the number of joints."""
        return self.graph.config["num_keypoints"]

    @property
    def num_stacks(self) -> int:
        """S, the number of hourglasses."""
        return self.graph.config["num_stacks"]

    @property
    def skeleton(self) -> Skeleton | None:
        """The `Skeleton` the model was built with, or `None`."""
        return self.graph.skeleton

    @property
    def input_size(self) -> Size:
        """`(height, width)` of the crop, in input pixels."""
        return tuple(self.graph.config["input_shape"][:2])

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the stacks' heatmaps."""
        return STRIDE

    @property
    def output_strides(self) -> dict[str, int]:
        """Output name -> input pixels per heatmap pixel, the final output last."""
        return output_strides(self.graph.config)

    @property
    def stack_names(self) -> list[str]:
        """The outputs that hold a stack's heatmaps, from first to last."""
        return list(stack_names(self.output_strides))

    @property
    def gflops(self) -> float:
        """Floating-point operations of one image, 10⁹; a multiply-add counts as two."""
        return self.graph.gflops

    @property
    def metadata(self) -> dict[str, dict]:
        """What travels with the model: dicts `preprocessing`, `thresholds` and `card`."""
        return self.graph.config["metadata"]

    @property
    def preprocessing(self) -> dict:
        """How crops are made for this model: `padding` of the person box, `sigma`, ….  A dict."""
        return self.graph.preprocessing

    @property
    def thresholds(self) -> dict[str, float]:
        """Joint name -> least score of a joint that counts as present. A dict, perhaps empty."""
        return self.graph.thresholds

    @classmethod
    def from_preset(cls, source: Path, **options) -> "StackedHourglass":
        """Load a model by preset name, folder, `.keras` file or address.

        Args:
            source: see `keras_hourglass.zoo.store.load_model`, which this calls.
            **options: `num_keypoints`, `skeleton`, `load_weights`, ….

        Returns:
            The model, not compiled.
        """
        from keras_hourglass.zoo.store import load_model

        return load_model(source, **options)

    def save_to_preset(
        self,
        folder: Path,
        preprocessing: dict | None = None,
        thresholds: dict[str, float] | None = None,
        card: dict | None = None,
        **options,
    ) -> None:
        """Write config, weights and card into a folder that `from_preset` loads anywhere.

        Args:
            folder: where to; see `keras_hourglass.zoo.store.save_preset`, which this calls.
            preprocessing: how crops are made, a dict; the model's own by default.
            thresholds: joint name -> least score of a present joint; the model's own by default.
            card: facts for the model card, a dict; the model's own by default.
            **options: `dtype` of the stored weights, `overwrite`.
        """
        from keras_hourglass.zoo.store import save_preset

        save_preset(self, folder, preprocessing, thresholds, card, **options)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        **options,
    ) -> None:
        """As in Keras; one loss, and one metric, does for all outputs.

        Args:
            optimizer: as in Keras.
            loss: as in Keras; a single `HeatmapMSE` draws the targets of each output in its size.
            loss_weights: as in Keras.
            metrics: as in Keras; a single metric, or a list of them, is counted for each output
                by itself (`HeatmapPCK` for those of the stacks), and logged as `stack_1_pck`, ….
            **options: the other arguments of `keras.Model.compile`.

        Example:

        >>> from keras_hourglass.losses import HeatmapMSE
        >>> from keras_hourglass.metrics import HeatmapPCK
        >>> model = StackedHourglass(5, 2, 8, depth=2, input_shape=(32, 48, 3))
        >>> model.compile("adam", HeatmapMSE(), metrics=HeatmapPCK())
        """
        loss = losses_for(self.output_strides, loss)
        metrics = metrics_for(list(self.output_strides), self.stack_names, metrics)
        super().compile(
            optimizer=optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics, **options
        )
        trace_once(self, loss, metrics)

    def distill_from(
        self, teacher: "StackedHourglass | Path | None", weight: float = 1.0, scale: float = 1.0
    ) -> None:
        """Let a trained network teach this one in `fit`, beside the labels.

        From now on the loss of a training step also has the squared error to the teacher's
        heatmaps of the same crops, the mean of each and its mirror image, in every stack and for
        the joints that both know. Losses of `evaluate` and of validation stay as they are.

        Args:
            teacher: a `StackedHourglass`, or what `from_preset` takes; `None` for no teacher.
            weight: of this error beside that to the labels.
            scale: factor on the error, that of the `HeatmapMSE` the model is compiled with.

        Raises:
            UserError: if the teacher knows none of the joints, its input has another shape, or a
                number is not positive.

        Example:

        >>> teacher = StackedHourglass(5, 1, 16, depth=2, input_shape=(64, 64, 3))
        >>> model = StackedHourglass(5, 2, 8, depth=2, input_shape=(32, 32, 3))
        >>> model.distill_from(teacher, weight=0.5)

        Reference:
            [Zhang et al., 2019](https://arxiv.org/abs/1811.05419).
        """
        if teacher is not None:
            from keras_hourglass.network.distillation import Distillation

            if not isinstance(teacher, StackedHourglass):
                teacher = type(self).from_preset(teacher)
            teacher = Distillation(self, teacher, weight, scale)
        self._distillation = teacher
        # What was traced without it is made anew.
        self.train_function = None

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """As in Keras, and in training the error to a teacher's heatmaps, see `distill_from`.

        Args:
            x, y, y_pred, sample_weight: as in Keras.
            training: whether this is a step of a training; Keras 2.15 does not say.

        Returns:
            The loss, a scalar.
        """
        options = {"training": training} if IN_KERAS_3 else {}
        loss = super().compute_loss(x, y, y_pred, sample_weight, **options)
        if self._distillation is None or not training:
            return loss
        return loss + self._distillation(x, y_pred)

    def compile_from_config(self, config: dict) -> None:
        """Compile as a saved model was.

        Args:
            config: as from `get_compile_config`.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        if hasattr(getattr(self, "optimizer", None), "build"):
            self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> Any:
        """As in Keras, after the optimizer has made its variables.

        Args:
            force: make it anew.

        Returns:
            What Keras does.
        """
        build_optimizer(self)
        return super().make_train_function(force)

    def fit(self, x: Any = None, y: Any = None, *args, **options) -> Any:
        """As in Keras, which warns of its own default for `shuffle` where batches come ordered.

        Before the first step after `compile` it says how long that is being prepared.

        Args:
            x, y: as in Keras.
            *args, **options: the other arguments of `keras.Model.fit`.

        Returns:
            Keras's `History`.
        """
        arrays = x is None or hasattr(x, "shape") or isinstance(x, (list, tuple, dict))
        if not arrays and len(args) < 6 and not isinstance(x, BATCHES):
            options.setdefault("shuffle", False)
        if options.get("verbose", args[2] if len(args) > 2 else "auto"):
            say_tracing(self)
        return super().fit(x, y, *args, **options)

    def get_config(self) -> dict:
        config = copy.deepcopy(self.graph.config)
        own = {"name": self.name, "dtype": policy_config(self._own_policy)}
        frozen = frozen_inside(self.layers) if self.trainable else []
        # Only where it is not as when a model is made, so that files of before are as they were.
        state = {} if self.trainable else {"trainable": False}
        return {**config, **own, **state, **({"frozen": frozen} if frozen else {})}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "StackedHourglass":
        # Keras's legacy format takes words such as "add" and "sum" for functions.
        config = {k: v.__name__ if inspect.isfunction(v) else v for k, v in config.items()}
        frozen = config.pop("frozen", ())
        model = cls(**config)
        freeze_inside(model.layers, frozen)
        return model


def snapshot(model: Any) -> Snapshot:
    """The graph of a live model and its weights as they are now, which is what folding takes.

    Args:
        model: a `StackedHourglass`. A functional model of your own, made of this package's layers,
            has no graph that is known here: it trains, saves and exports by Keras's own means and
            predicts by `engine="keras"`.

    Returns:
        A `Snapshot`.

    Raises:
        UserError: if it is another model.

    Example:

    >>> model = StackedHourglass(5, 1, 8, depth=2, input_shape=(32, 48, 3))
    >>> graph, arrays = snapshot(model)
    >>> arrays["supervision_1/heatmaps/kernel"].shape
    (1, 1, 8, 5)
    """
    if not isinstance(model, StackedHourglass):
        raise UserError(
            "Only a StackedHourglass, whose graph is known by its arguments, is folded for other "
            f"runtimes. Received: a {type(model).__name__} named {getattr(model, 'name', '')!r}. "
            "Run it by engine='keras', and write it by its own model.export."
        )
    return Snapshot(model.graph, arrays_of(model))


def _build(graph, dtype):
    """The functional graph: inputs and the dict of outputs."""
    known: dict = {}
    inputs = None
    for node in graph.nodes:
        if node.kind == "InputLayer":
            found = inputs = keras.Input(node.outputs[0].shape[1:], name=node.name)
        else:
            given = [known[tensor.name] for tensor in node.inputs]
            found = make_layer(node, dtype)(given if len(given) > 1 else given[0])
        found = found if isinstance(found, (list, tuple)) else [found]
        known.update(zip((tensor.name for tensor in node.outputs), found, strict=True))
    return inputs, {name: known[tensor.name] for name, tensor in graph.output.items()}
