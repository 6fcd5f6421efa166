"""The sections of a training recipe, as frozen dataclasses."""

import dataclasses
import typing

from keras_hourglass.data.augment import AUGMENTATIONS, Augmentation


@dataclasses.dataclass(frozen=True)
class DataSection:
    """Whom to train on and how they are shown.

    `train`: a data set spec or a list of them; `validation`: the same, or nothing; `sigma`: of
    the Gaussians in heatmap pixels; `missing`: `"zero"` or `"ignore"`, see `HeatmapCodec`;
    `cache`: keep decoded pictures in memory; `workers`: threads that prepare batches; `images`:
    folder of the pictures, and `pairs`: joints that mirror each other, of data of one's own, see
    `load_records`.
    """

    train: typing.Any = "synthetic:2000@1"
    validation: typing.Any = None
    sigma: float = 1.5
    missing: str = "zero"
    cache: bool = False
    workers: int = 2
    images: str | None = None
    pairs: typing.Any = None


def _build_augmentation(section):
    """The `Augmentation`, or `None`."""
    if section.preset == "none":
        return None
    changed = {
        name: value
        for name, value in dataclasses.asdict(section).items()
        if name != "preset" and value is not None
    }
    return dataclasses.replace(AUGMENTATIONS[section.preset], **changed)


# `preset`: a row of `AUGMENTATIONS`, or `none`; the other keys change single values of it.
AugmentationSection = dataclasses.make_dataclass(
    "AugmentationSection",
    [
        ("preset", str, "newell"),
        *((name, kind | None, None) for name, kind in typing.get_type_hints(Augmentation).items()),
    ],
    frozen=True,
    namespace={"build": _build_augmentation, "__module__": __name__},
)


@dataclasses.dataclass(frozen=True)
class OptimizerSection:
    """`name`: `torch_rmsprop`, a Keras optimizer, or, beside Keras 2.15, one of TensorFlow
    Addons such as `tfa:LAMB`; `options`: its further arguments, among them
    `clipnorm`, `global_clipnorm`, `clipvalue`, `gradient_accumulation_steps`, `use_ema` and
    `ema_momentum`; `loss_scale`: constant factor on the loss, see `HeatmapMSE` (float16 gets a
    dynamic one besides)."""

    name: str = "torch_rmsprop"
    learning_rate: float = 2.5e-4
    options: dict = dataclasses.field(default_factory=dict)
    loss_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class ScheduleSection:
    """`name`: `constant`, `cosine` (to `final` times the rate, after `warmup` epochs) or
    `plateau` (the rate is divided by `divide_by` when the watched accuracy has not risen for
    `patience` epochs, at most `times` times); `early_stopping`: end the training when it has not
    risen for so many epochs."""

    name: str = "constant"
    warmup: float = 0.0
    final: float = 0.0
    divide_by: float = 5.0
    patience: int = 5
    times: int = 1
    early_stopping: int | None = None


@dataclasses.dataclass(frozen=True)
class TrainingSection:
    """`steps_per_epoch`: batches per epoch, a pass over the data by default; `precision`: a Keras
    dtype policy, or `auto`, which is `mixed_bfloat16` where the hardware computes in it and
    `float32` elsewhere; `weights`: weights of the same architecture to start from
    (`.weights.h5`, preset or folder; heads of other joints start anew); `widen`: preset or folder
    of a network of the same form and a fraction of the width, to grow from; `stack_weights`:
    weight of each output's loss; `frozen`: names of layers that stay as they are for the first
    `frozen_epochs`; `devices`: `one`, or `all` for every accelerator of the machine (JAX: of all
    processes); `deterministic`: refuse operations whose result varies from run to run;
    `recompute`: keep less for the gradient and compute it again, for larger batches in the same
    memory (Keras 3.9 or newer)."""

    epochs: int = 100
    batch_size: int = 6
    steps_per_epoch: int | None = None
    precision: str = "float32"
    seed: int = 1
    jit_compile: bool | None = False
    weights: str | None = None
    widen: str | None = None
    stack_weights: list | None = None
    frozen: list | None = None
    frozen_epochs: int = 0
    devices: str = "one"
    deterministic: bool = False
    recompute: bool = False


@dataclasses.dataclass(frozen=True)
class MonitoringSection:
    """`source_every`: epochs between measurements of PCK in source pixels on the validation
    data, 0 for none; `tensorboard`: write its files; `images`: people whose heatmaps and
    overlays are shown there; `profile`: first and last step that TensorFlow profiles."""

    source_every: int = 5
    tensorboard: bool = True
    images: int = 4
    profile: list | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training. `model` holds arguments of `StackedHourglass`, or `preset` (name or folder,
    with its weights unless `pretrained: false`) and what may differ from it."""

    model: dict = dataclasses.field(default_factory=dict)
    data: DataSection = dataclasses.field(default_factory=DataSection)
    augmentation: AugmentationSection = dataclasses.field(default_factory=AugmentationSection)
    optimizer: OptimizerSection = dataclasses.field(default_factory=OptimizerSection)
    schedule: ScheduleSection = dataclasses.field(default_factory=ScheduleSection)
    training: TrainingSection = dataclasses.field(default_factory=TrainingSection)
    monitoring: MonitoringSection = dataclasses.field(default_factory=MonitoringSection)

    def to_dict(self) -> dict:
        """Every value, defaults included, ready for YAML."""
        return dataclasses.asdict(self)
