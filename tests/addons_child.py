"""`fit` with optimizers of TensorFlow Addons, for `test_addons.py`: prints a loss for each."""

import json

import numpy as np
import tensorflow_addons as tfa

from keras_hourglass import HeatmapCodec, StackedHourglass
from keras_hourglass.losses import HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK

OPTIMIZERS = {
    "RectifiedAdam": lambda: tfa.optimizers.RectifiedAdam(1e-2),
    "Lookahead": lambda: tfa.optimizers.Lookahead(tfa.optimizers.RectifiedAdam(1e-2)),
    "MovingAverage": lambda: tfa.optimizers.MovingAverage(tfa.optimizers.LAMB(1e-2)),
    "LAMB": lambda: tfa.optimizers.LAMB(1e-2),
}

rng = np.random.default_rng(1)
crops = rng.integers(0, 255, (4, 32, 24, 3), np.uint8)
codec = HeatmapCodec((32, 24), sigma=1.0)
targets = codec.targets(rng.uniform(2, 20, (4, 5, 2)), np.full((4, 5), 2))
losses = {}
for name, make in OPTIMIZERS.items():
    model = StackedHourglass(5, 2, 4, depth=1, input_shape=(32, 24, 3), stem=(2, (2,), (2, 4)))
    size = codec.heatmap_size
    model.compile(
        make(),
        loss={output: HeatmapMSE(size, 1.0) for output in model.output_names},
        metrics={output: [HeatmapPCK(size)] for output in model.output_names},
    )
    answers = dict.fromkeys(model.output_names, targets)
    losses[name] = model.fit(crops, answers, epochs=3, verbose=0).history["loss"]
print(json.dumps(losses))
