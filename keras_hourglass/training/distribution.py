"""One training on several devices, and on several machines.

`training.devices: all` in a recipe is all it takes on one machine: every accelerator (or, where
there is none, every logical processor) works on its share of each batch. `training.batch_size`
stays the size of the whole batch.

On several machines (JAX backend) the same command is started once per process, with three
environment variables that Keras reads:

    KERAS_BACKEND=jax
    KERAS_DISTRIBUTION_JOB_ADDRESSES=host0:12345   # address of process 0
    KERAS_DISTRIBUTION_NUM_PROCESSES=2
    KERAS_DISTRIBUTION_PROCESS_ID=0                # 0, 1, … , different in each

Slurm, one process per node:

    #SBATCH --nodes=4 --ntasks-per-node=1 --gres=gpu:8
    export KERAS_BACKEND=jax KERAS_DISTRIBUTION_NUM_PROCESSES=$SLURM_NTASKS
    export KERAS_DISTRIBUTION_JOB_ADDRESSES=$(scontrol show hostnames | head -n1):12345
    srun bash -c 'KERAS_DISTRIBUTION_PROCESS_ID=$SLURM_PROCID \
        keras-hourglass train recipe.yaml --out runs/big --set training.devices=all'

Kubernetes, an indexed Job with a headless service called `trainer`:

    completionMode: Indexed
    command: [sh, -c, "KERAS_DISTRIBUTION_PROCESS_ID=$JOB_COMPLETION_INDEX exec \
      keras-hourglass train recipe.yaml --out /runs/big --set training.devices=all"]
    env:
    - {name: KERAS_BACKEND, value: jax}
    - {name: KERAS_DISTRIBUTION_NUM_PROCESSES, value: "4"}
    - {name: KERAS_DISTRIBUTION_JOB_ADDRESSES, value: "job-0.trainer:12345"}

Every process reads the data and the output folder, which is shared; only process 0 writes.
"""

import contextlib
import dataclasses
import functools
import os

import keras

from keras_hourglass.data.epochs import Share
from keras_hourglass.errors import RecipeError, UserError

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
_started = []


@dataclasses.dataclass(frozen=True)
class Layout(Share):
    """How a training is spread out.

    Args:
        devices, process, processes: as for `Share`.
        strategy: TensorFlow's strategy, or `None`.
    """

    strategy: object = None

    @property
    def chief(self):
        """Whether this process writes files."""
        return self.process == 0

    def scope(self):
        """The context in which model and optimizer are made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()


@contextlib.contextmanager
def layout(recipe):
    """Spread a training over the devices its recipe asks for, within a block.

    Args:
        recipe: a `Recipe`.

    Yields:
        The `Layout`.

    Raises:
        RecipeError: if the backend cannot, or the batch cannot be shared evenly.
    """
    if recipe.training.devices == "one":
        if os.environ.get(ADDRESSES):
            raise RecipeError(
                "training.devices: several processes need all devices. Received: one, with "
                f"{ADDRESSES} set. Add --set training.devices=all."
            )
        yield Layout()
        return
    backend = keras.backend.backend()
    if backend == "tensorflow":
        found = _mirrored()
    elif backend == "jax":
        found = _data_parallel()
    else:
        raise RecipeError(
            f"training.devices: the {backend} backend trains on one device. Received: all. "
            "Set KERAS_BACKEND to tensorflow or jax."
        )
    try:
        _check_batch(recipe.training.batch_size, found.devices)
        yield found
    finally:
        if backend == "jax":
            keras.distribution.set_distribution(None)


def _check_batch(size, devices):
    if size != "auto" and size % devices:
        below = size // devices * devices
        nearest = " or ".join(str(fit) for fit in (below, below + devices) if fit)
        raise RecipeError(
            f"training.batch_size: {devices} devices share a batch evenly. Received: {size}. "
            f"Use {nearest}."
        )


def _mirrored():
    import tensorflow as tf

    if os.environ.get(ADDRESSES):
        raise UserError(
            "Keras trains in several processes on the JAX backend only. Received: "
            f"{ADDRESSES} with TensorFlow. Set KERAS_BACKEND=jax."
        )
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return Layout(len(devices), strategy=_strategy(tuple(device.name for device in devices)))


@functools.cache
def _strategy(names):
    """One strategy per process: the collective operations of two would get the same numbers."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def _data_parallel():
    if os.environ.get(ADDRESSES) and not _started:
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"The processes did not find each other ({reason}). Received: "
                f"{ADDRESSES}={os.environ[ADDRESSES]}. Check addresses, number and ports."
            ) from error
        _started.append(True)
    import jax

    devices = keras.distribution.list_devices()
    # Every process makes its own share of each batch, see `batches.Batches`.
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    return Layout(len(devices), jax.process_index(), jax.process_count())
