"""Carry out a recipe: one `Run` from the data and the network to `fit` and the weights."""

import contextlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_hourglass import compat
from keras_hourglass.data.pipeline import SceneDataset
from keras_hourglass.errors import DataError, RecipeError, UserError, WeightsError, note
from keras_hourglass.evaluation.measure import believed_from
from keras_hourglass.evaluation.predictions import predict_records
from keras_hourglass.hardware import accelerators, has_bfloat16
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.io.files import clear_leftovers, new_folder, only_one
from keras_hourglass.layers.recomputation import recompute
from keras_hourglass.losses import BoxLoss, HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK
from keras_hourglass.metrics.heatmap import BoxOverlap
from keras_hourglass.network.config import stack_names
from keras_hourglass.network.model import StackedHourglass
from keras_hourglass.skeletons import BOXES, Skeleton
from keras_hourglass.training.batches import Batches, Feeder, build_data
from keras_hourglass.training.callbacks.averages import Averages, ValidateAverages
from keras_hourglass.training.callbacks.checkpoints import (
    Keeper,
    StopCleanly,
    StopOnNaN,
    begun_only,
    check_data,
    check_resume,
    prepare_folder,
    read_state,
    restore,
)
from keras_hourglass.training.callbacks.monitoring import (
    Log,
    ReportFailures,
    SourceValidation,
    Warn,
)
from keras_hourglass.training.distribution import Layout, layout
from keras_hourglass.training.optimizers import make_optimizer, try_optimizer
from keras_hourglass.training.recipe import Recipe, load_recipe
from keras_hourglass.training.teacher import ANSWERS, learn_from_teacher
from keras_hourglass.typing import Path
from keras_hourglass.zoo.store import joints_of, load_model, load_snapshot, resolve, save_thresholds
from keras_hourglass.zoo.transfer import match_heads, widen
from keras_hourglass.zoo.weights import (
    arrays_of,
    assign_arrays,
    load_weights,
    named_variables,
    read_arrays,
)

# In the run's folder while it runs; of a killed run it stays, and means nothing.
_LOCK = ".lock"
# What a run may find of an earlier one that had hardly begun.
_OWN = (_LOCK, ANSWERS)
# Most people that thresholds are found by.
_CALIBRATED = 500


def train(
    recipe: Recipe | Path | dict,
    out: Path,
    data_root: Path | None = None,
    resume: bool = False,
    overrides: Sequence[str] = (),
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[StackedHourglass, keras.callbacks.History]:
    """Train a network as a recipe says.

    Args:
        recipe: a `Recipe`, or what `load_recipe` takes.
        out: folder for weights and logs. It becomes a preset folder of the best weights
            (`config.json`, `model.weights.h5`), with the latest ones in `last/`, the resolved
            `recipe.yaml`, `environment.json` (versions and seed), `log.csv`, `tensorboard/`,
            `checkpoint/` and, where pictures could not be read, `skipped.txt`.
        data_root: folder that relative paths of the recipe's data sets start from.
        resume: go on from the last checkpoint in `out`.
        overrides: `section.key=value` strings.
        verbose: as in `keras.Model.fit`.
        callbacks: further Keras callbacks.

    Returns:
        The trained `StackedHourglass` (averaged weights where the recipe asks for them) and its
        `keras.callbacks.History`.

    Raises:
        UserError: if the recipe, the data or the folder cannot be used, or the training diverges.
        KeyboardInterrupt: after Ctrl-C; the weights of that moment are in `out/last`.

    Example:

    >>> values = {"data": {"train": "synthetic:40@1"}, "training": {"epochs": 2}}
    >>> model, history = train(values, "runs/first")  # doctest: +SKIP
    """
    if not isinstance(recipe, Recipe) or overrides:
        recipe = load_recipe(recipe, overrides)
    return Run(recipe, out, data_root, resume, verbose, callbacks).carry_out()


class _Phase(NamedTuple):
    """A part of a training with an optimizer of its own: first epoch, end, and whether layers are
    frozen."""

    first: int
    last: int
    frozen: bool


class Run:
    """One training: its recipe and folder, the devices it is on, and how far it has come.

    `carry_out` goes through it once: it takes the folder, reads the data, builds the network, and
    fits each phase. What it has made lies in the attributes `devices`, `train_data`, `validation`,
    `model`, `averages`, `history` and `state` (as in `state.json`, or `None` before the first
    checkpoint).

    Args:
        recipe: the `Recipe`.
        out: the run's folder, see `train`.
        data_root: folder that relative paths of data sets start from.
        resume: go on from the last checkpoint in `out`.
        verbose: as in `keras.Model.fit`.
        callbacks: further Keras callbacks.

    Raises:
        UserError: if there is no checkpoint to go on from.

    Example:

    >>> run = Run(load_recipe({}, ["training.epochs=3"]), "runs/first")
    >>> run.recipe.training.epochs, run.state
    (3, None)
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        data_root: Path | None = None,
        resume: bool = False,
        verbose: str | int = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ):
        self.recipe, self.out = compat.fitting(recipe), pathlib.Path(out)
        self.data_root, self.verbose, self.callbacks = data_root, verbose, list(callbacks)
        self.state: Any = read_state(self.out) if resume else None
        self.devices = Layout()
        self.history = keras.callbacks.History()
        self.model: Any = None
        self.train_data: Any = None
        self.validation: Batches | None = None
        self.averages: Any = None
        self.feeder: Any = None

    def carry_out(self) -> tuple[StackedHourglass, keras.callbacks.History]:
        """Train from the beginning, or from the state, to the end.

        Returns:
            Model and history, as `train`.
        """
        with contextlib.ExitStack() as stack:
            self.devices = stack.enter_context(layout(self.recipe))
            # Before a folder is made and minutes are spent on data.
            try_optimizer(self.recipe)
            _find_start(self.recipe.training)
            if self.devices.chief:
                stack.enter_context(_alone(self.out))
            # Only now: processes must have found each other before JAX looks at its devices.
            self.recipe = with_precision(self.recipe)
            rate_changed = self._take_folder()
            self._build()
            self.feeder = stack.enter_context(
                Feeder(self.recipe.data, self.train_data, self.validation)
            )
            for phase in self._phases():
                self._compile(phase, rate_changed)
                if self.devices.chief:
                    prepare_folder(self.recipe, self.out, self.state)
                    sets = {"train": self.train_data, "validation": self.validation}
                    for changed in check_data(self.out, sets):
                        self._note(changed)
                self._fit(phase)
                if self.state.get("stopped"):
                    break
            if self.devices.chief and self.devices.processes == 1:
                _calibrate(self)
        self.model.trainable = True
        self.model.distill_from(None)
        return self.model, self.history

    def _take_folder(self):
        """Check that folder and recipe belong together; whether the learning rate was changed."""
        if self.state:
            changed = check_resume(self.recipe, self.out)
            self._go_on()
            return changed
        if self.devices.chief:
            clear_leftovers(self.out)
            there = [path.name for path in self.out.iterdir() if path.name not in _OWN]
            # Refused before minutes are spent on reading data.
            if there and not begun_only(self.out, ignored=_OWN):
                new_folder(self.out, remedy="Name a new folder, or go on with --resume")
        return False

    def _go_on(self):
        """Whether a run that was stopped early, or is over, has anything left to do."""
        patience, memory = self.recipe.schedule.early_stopping, self.state["memory"]
        waited = memory.get("EarlyStopping", {}).get("wait", 0)
        if self.state.get("stopped") and (patience is None or waited < patience):
            self.state["stopped"] = False
            memory.get("EarlyStopping", {})["stopped_epoch"] = 0
        elif self.state.get("stopped"):
            self._note(
                f"the training has ended after epoch {self.state['epoch']}: the accuracy had not "
                f"risen for {waited} epochs. To go on, raise schedule.early_stopping "
                f"({patience}) or set it to null"
            )
        if self.state["epoch"] >= self.recipe.training.epochs:
            self._note(
                f"all {self.recipe.training.epochs} epochs are done. To go on, raise "
                "training.epochs"
            )

    def _note(self, text):
        if self.devices.chief:
            note(f"{text}.")

    def _build(self):
        """Read the data and make the network for them."""
        training = self.recipe.training
        if self.devices.processes > 1 and self.frozen:
            raise RecipeError(
                "training.frozen: cannot be used in several processes. Received: "
                f"{list(self.frozen)}. Train the frozen part first, on one machine."
            )
        keras.utils.set_random_seed(training.seed)
        if training.deterministic:
            _make_deterministic()
        self.train_data, self.validation = build_data(
            self.recipe, self.data_root, self.devices, self.out if self.devices.chief else None
        )
        with self.devices.scope():
            self.model = build_model(self.recipe, self.train_data.records.skeleton)
            if training.distillation:
                learn_from_teacher(self.model, self.recipe)
        names = [layer.name for layer in self.model.layers if layer.weights]
        unknown = sorted(set(self.frozen) - set(names))
        if unknown:
            raise RecipeError(
                f"training.frozen: names layers, {', '.join(names)}. Received: {unknown[0]!r}."
            )

    def _phases(self):
        """The parts of the training that are not over yet."""
        epochs, frozen = self.recipe.training.epochs, self.recipe.training.frozen_epochs
        for phase in (_Phase(0, frozen, True), _Phase(frozen, epochs, False)):
            over = self.state and self.state["epoch"] >= phase.last and phase.last < epochs
            if phase.first < phase.last and not over:
                yield phase

    def _compile(self, phase, rate_changed):
        """Optimizer and losses of a phase, in the state that the run has reached."""
        model, frozen = self.model, self.frozen
        for layer in model.layers:
            layer.trainable = not (phase.frozen and layer.name in frozen)
        with self.devices.scope():
            compile_model(model, self.recipe, len(self.train_data), phase.last - phase.first)
            model.optimizer.build(model.trainable_variables)
            if self.state:
                # A phase has an optimizer of its own.
                same = self.state["epoch"] > phase.first or phase.first == 0
                restore(model, self.out, self.state, optimizer=same)
                if rate_changed and self.recipe.schedule.name != "cosine":
                    model.optimizer.learning_rate = self.recipe.optimizer.learning_rate

    def _fit(self, phase):
        """One phase; the state is then the one it ended in."""
        model, state = self.model, self.state or {}
        first = max(phase.first, state.get("epoch", 0))
        # A network spread over processes cannot be run by one of them alone.
        self.averages = Averages(model, self.train_data if self.devices.processes == 1 else None)
        listed, keeper = self._callbacks()
        stop = StopCleanly(keeper)
        validation = None
        if self.validation is not None:
            validation = self.feeder.feed(self.validation, model.output_names)
        if phase.frozen:
            # Keras counts to the end of the phase, as if that were the whole.
            self._note(
                f"{', '.join(self.frozen)} stays as it is in the first {phase.last} of "
                f"{self.recipe.training.epochs} epochs (training.frozen_epochs)"
            )
        try:
            with self.feeder.plain_errors():
                model.fit(
                    self.feeder.feed(self.train_data, model.output_names, first),
                    initial_epoch=first,
                    epochs=first if state.get("stopped") else phase.last,
                    steps_per_epoch=len(self.train_data),
                    validation_data=validation,
                    # Shuffled by the data set itself, the same way after a resume.
                    shuffle=False,
                    callbacks=[*listed, *self.callbacks, self.history, stop],
                    verbose=self.verbose if self.devices.chief else 0,
                )
        finally:
            stop.release()
            # Keras closes them at the end of a training only, not when it fails.
            for callback in listed:
                if hasattr(callback, "close"):
                    callback.close()
        self.state = keeper.state if keeper else {"epoch": phase.last}
        # Keras has put averages there, too, but without statistics of their own.
        self.averages.put(self.state["epoch"] - 1)

    @property
    def frozen(self) -> tuple:
        """Names of the layers that stay as they are in the first epochs."""
        training = self.recipe.training
        return tuple(training.frozen or ("stem",)) if training.frozen_epochs else ()

    @property
    def watched(self) -> str:
        """The logged accuracy of the last stack, on validation data where there are some."""
        names = self.model.output_names
        # Keras leaves out the output's name where there is only one.
        name = "overlap" if _finds_people(self.model) else "pck"
        name = name if len(names) == 1 else f"{names[-1]}_{name}"
        return name if self.validation is None else f"val_{name}"

    @property
    def shown(self) -> Batches:
        """The data on which the network is looked at: held out, where there are such."""
        return self.train_data if self.validation is None else self.validation

    def _callbacks(self):
        """All callbacks in order, and the last, the `Keeper`, in the process that writes."""
        listed, every, alone = [], self.recipe.monitoring.source_every, self.devices.processes == 1
        every = 0 if _finds_people(self.model) else every
        if self.averages.active:
            listed.append(ValidateAverages(self.averages))
        if alone and every and self.validation is not None:
            listed.append(SourceValidation(self.validation, every, self.averages))
        if alone:
            listed.append(Warn(self.shown, self.averages))
        remembering = self._scheduling()
        listed += [*remembering, StopOnNaN(self.out)]
        if not self.devices.chief:
            return listed, None
        listed += [ReportFailures(self.out, self.train_data, self.validation), *self._logs()]
        keeper = Keeper(self, remembering)
        return [*listed, keeper], keeper

    def _scheduling(self):
        """Keras's callbacks that watch the accuracy, whose memory belongs to a checkpoint."""
        schedule, listed = self.recipe.schedule, []
        if schedule.name == "plateau":
            listed.append(
                keras.callbacks.ReduceLROnPlateau(
                    self.watched,
                    factor=1 / schedule.divide_by,
                    patience=schedule.patience,
                    mode="max",
                    # As a product: the power may be too large for a number.
                    min_lr=self.recipe.optimizer.learning_rate
                    * schedule.divide_by**-schedule.times,
                    verbose=1,
                )
            )
        if schedule.early_stopping:
            listed.append(
                keras.callbacks.EarlyStopping(
                    self.watched, patience=schedule.early_stopping, mode="max", verbose=1
                )
            )
        return listed

    def _logs(self):
        """What writes the log and, if asked for, TensorBoard's files."""
        monitoring, folder = self.recipe.monitoring, os.fspath(self.out / "tensorboard")
        listed = [Log(self.out / "log.csv")]
        if monitoring.tensorboard:
            from keras_hourglass.training.callbacks.tensorboard import Board

            joints = not isinstance(self.shown, SceneDataset)
            images = monitoring.images if self.devices.processes == 1 and joints else 0
            listed.append(Board(folder, self.shown, self.averages, images))
        if monitoring.profile:
            if keras.backend.backend() != "tensorflow":
                raise RecipeError(
                    "monitoring.profile: needs the TensorFlow backend. Received: "
                    f"{keras.backend.backend()}. Leave the key out."
                )
            from keras_hourglass.training.callbacks.tensorboard import Profile

            listed.append(Profile(folder, *monitoring.profile))
        return listed


def _calibrate(run: Run) -> dict[str, float]:
    """Say from which score on joints are believed, by the validation data and the best weights.

    The scores are those of `Predictor`, averaged with the mirrored picture. What the folder's
    preset has of thresholds is replaced.

    Args:
        run: a `Run` whose folder has its weights.

    Returns:
        joint -> threshold, see `believed_from`; empty without validation people.
    """
    if run.validation is None or _finds_people(run.model):
        return {}
    snapshot, records = load_snapshot(run.out), run.validation.records
    # Evenly from all of them: a long validation need not be run twice.
    people = np.unique(np.linspace(0, len(records) - 1, _CALIBRATED).astype(int))
    last = stack_names(snapshot.graph.output)[-1:]
    try:
        found = predict_records(
            snapshot.graph,
            records.select(people),
            stacks=last,
            engine=make_engine("fastest", snapshot, last, spinning=False),
        )
    except DataError:  # no picture can be read, of which the log has told
        return {}
    thresholds = believed_from(found, absent=run.recipe.data.missing == "zero")
    save_thresholds(run.out, thresholds)
    run.model.metadata["thresholds"] = thresholds
    return thresholds


@contextlib.contextmanager
def _alone(out):
    """Keep a second training out of a run's folder while the block runs.

    Args:
        out: the run's folder, made if missing and removed again if it stays empty.

    Raises:
        UserError: if another training writes to it.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        with only_one(out / _LOCK, "training"):
            yield
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()


def _make_deterministic():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def with_precision(recipe: Recipe) -> Recipe:
    """A recipe whose `training.precision` is a Keras dtype policy, `auto` resolved.

    A policy that this machine can only emulate is kept, with a warning on the screen.

    Args:
        recipe: a `Recipe`.

    Returns:
        The `Recipe`, `auto` replaced by `mixed_bfloat16` or `float32`.

    Example:

    >>> recipe = load_recipe({"training": {"precision": "float32"}})
    >>> with_precision(recipe).training.precision
    'float32'
    """
    wanted = recipe.training.precision
    if wanted == "float32":
        return recipe
    fast = has_bfloat16()
    if wanted == "auto":
        policy = "mixed_bfloat16" if fast else "float32"
        print(f"training.precision: auto is {policy} on this machine", flush=True)
        return recipe.changed("training", precision=policy)
    if not fast and not accelerators():
        print(
            f"training.precision: {wanted} is emulated by this processor and may take several "
            "times as long as float32. Use float32 or auto.",
            flush=True,
        )
    return recipe


# The network: from a recipe to a compiled model.


def build_model(recipe: Recipe, skeleton: Skeleton) -> StackedHourglass:
    """The network of a recipe, with starting weights if it names any.

    Args:
        recipe: a `Recipe`.
        skeleton: the `Skeleton` of the data.

    Returns:
        The `StackedHourglass`, not compiled.

    Raises:
        RecipeError: if the arguments are no network.
        WeightsError: if the weights belong to another architecture.

    Example:

    >>> from keras_hourglass.skeletons import get_skeleton
    >>> recipe = load_recipe({"model": {"preset": "hourglass_tiny_lsp"}})
    >>> build_model(recipe, get_skeleton("lsp")).num_stacks
    2
    """
    arguments = dict(recipe.model)
    preset, pretrained = arguments.pop("preset", None), arguments.pop("pretrained", True)
    arguments["skeleton"] = skeleton
    if arguments.pop("num_keypoints", skeleton.num_joints) != skeleton.num_joints:
        raise RecipeError(
            f"model.num_keypoints: the data have {skeleton.num_joints} joints. Received: "
            f"{recipe.model['num_keypoints']}. Leave the key out."
        )
    with _precision(recipe.training.precision):
        try:
            if preset is None:
                model = StackedHourglass(**arguments)
            else:
                wanted = bool(pretrained) and recipe.training.weights is None
                model = load_model(preset, load_weights=wanted, **arguments)
        except WeightsError:
            raise
        except (UserError, TypeError, ValueError) as error:
            raise RecipeError(f"model: {' '.join(str(error).split())}") from error
    if _finds_people(model) and set(model.output_strides) != set(model.stack_names):
        raise RecipeError(
            "model.supervision: a network that finds people has maps of one resolution. Received: "
            f"{model.get_config()['supervision']}. Use all or last."
        )
    if recipe.training.weights is not None:
        _start_from(model, recipe.training.weights)
    if recipe.training.widen is not None:
        _grow_from(model, recipe.training.widen, recipe.training.seed)
    if recipe.training.recompute:
        try:
            recompute(model)
        except UserError as error:
            raise RecipeError(f"training.recompute: {error}") from error
    return model


def _find_start(training):
    """Refuse names of weights to start from behind which there is no network."""
    for key, source in (("weights", training.weights), ("widen", training.widen)):
        if source is None or str(source).endswith(".weights.h5"):
            continue
        try:
            resolve(source, load_weights=False)
        except UserError as error:
            raise WeightsError(f"training.{key}: {error}") from error


def _start_from(model, source):
    """Load weights of the same architecture; heads of other joints start anew.

    Args:
        model: a `StackedHourglass`.
        source: a `.weights.h5` file, or what `load_model` takes.
    """
    try:
        if str(source).endswith(".weights.h5"):
            load_weights(model, source)
            return
        config, found = resolve(source)
        if found is None:
            raise WeightsError(f"There are no trained weights. Received: {source}.")
        arrays = read_arrays(model, found, str(source))
        joints = joints_of(config)
        known = joints is not None or config.get("num_keypoints") != model.num_keypoints
        if known and tuple(joints or ()) != tuple(model.skeleton.joints):
            arrays = match_heads(model, arrays, joints, str(source))
        assign_arrays(model, arrays, str(source))
    except UserError as error:
        raise WeightsError(f"training.weights: {error}") from error
    except ValueError as error:
        raise WeightsError(
            "training.weights: the arrays must be those of the network, one for one. Received: "
            f"{source} ({error}). Use weights of this architecture."
        ) from error


def _grow_from(model, source, seed):
    """Load the weights of a narrower network of the same form; see `widen`.

    Args:
        model: a `StackedHourglass`.
        source: what `load_model` takes, with the joints of the model.
        seed: of the parts that weights are split into.
    """
    try:
        narrow = load_model(source)
        if model.get_config()["merge"] != "add":
            raise WeightsError('Only networks with merge="add" can be widened.')
        if tuple(narrow.skeleton.joints if narrow.skeleton else ()) != model.skeleton.joints:
            raise WeightsError("The narrow network must have the same joints.")
        shapes = {name: tuple(v.shape) for name, v in named_variables(model).items()}
        assign_arrays(model, widen(arrays_of(narrow), shapes, seed=seed), str(source))
    except UserError as error:
        raise WeightsError(f"training.widen: {error} Received: {source}.") from error


@contextlib.contextmanager
def _precision(policy):
    """The global dtype policy within a block."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def compile_model(
    model: StackedHourglass, recipe: Recipe, steps_per_epoch: int, epochs: int | None = None
) -> None:
    """Optimizer, one loss per output and one PCK per stack.

    Args:
        model: a `StackedHourglass`.
        recipe: a `Recipe`.
        steps_per_epoch: batches per epoch.
        epochs: length of the schedule in epochs; the recipe's by default.

    Example:

    >>> compile_model(model, load_recipe("lsp_small"), steps_per_epoch=50)  # doctest: +SKIP
    """
    losses, metrics = {}, {}
    for name, stride in model.output_strides.items():
        size = tuple(edge // stride for edge in model.input_size)
        if _finds_people(model):
            losses[name] = BoxLoss(stride, scale=recipe.optimizer.loss_scale)
            metrics[name] = [BoxOverlap(stride, name="overlap")]
            continue
        losses[name] = HeatmapMSE(
            size, recipe.data.sigma, recipe.optimizer.loss_scale, stride // model.stride
        )
        if name in model.stack_names:
            metrics[name] = [HeatmapPCK(heatmap_size=size, name="pck")]
    weights = recipe.training.stack_weights
    backend, compiled = keras.backend.backend(), recipe.training.jit_compile
    model.compile(
        optimizer=make_optimizer(recipe, steps_per_epoch, epochs or recipe.training.epochs),
        loss=losses,
        loss_weights=dict(zip(model.output_names, weights, strict=True)) if weights else None,
        metrics=metrics,
        # Without compilation JAX would run operation by operation.
        jit_compile=True if backend == "jax" else "auto" if compiled is None else compiled,
    )
    if backend == "tensorflow":
        _build_trackers(model)


def _finds_people(model: StackedHourglass) -> bool:
    """Whether a network's maps are boxes of people instead of joints."""
    return model.skeleton is not None and model.skeleton.joints == BOXES.joints


def _build_trackers(model):
    """Make the variables that follow each output's loss.

    Keras makes them in the first step, and TensorFlow traces a step that made variables twice.
    """
    import tensorflow as tf

    maps = {name: tf.zeros((1, *output.shape[1:])) for name, output in model.output.items()}
    one = (1, model.num_keypoints, 4)
    if _finds_people(model):  # their targets are maps with two weights
        one = (1, *(edge // model.stride for edge in model.input_size), len(BOXES.joints) + 2)
    model.compute_loss(y=dict.fromkeys(maps, tf.zeros(one)), y_pred=maps)
    model.reset_metrics()
