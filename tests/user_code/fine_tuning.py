"""The README's training on joints of one's own, with what books add to it."""

import os
import warnings

import keras
import numpy as np

from keras_hourglass import HeatmapCodec, StackedHourglass
from keras_hourglass.data import Augmentation, PoseDataset, load_records
from keras_hourglass.network import loss_and_metrics

warnings.simplefilter("error", UserWarning)
records = load_records("synthetic:6@1")
validation = load_records("synthetic:4@2")
joints = records.skeleton.joints
model = StackedHourglass(skeleton=list(joints), num_features=8, depth=1, input_shape=(32, 48, 3))
codec = HeatmapCodec(model.input_size, sigma=1.0)
names = model.output_names
training = PoseDataset(records, codec, 2, Augmentation(), outputs=names)
held_out = PoseDataset(validation, codec, 2, outputs=names)
model.compile(keras.optimizers.Adam(1e-3), **loss_and_metrics(codec))
if keras.backend.backend() == "tensorflow":
    batches = training.as_tf_dataset()
    options = {"steps_per_epoch": len(training)}
    unseen = held_out.as_tf_dataset(endless=False)
else:
    batches, options, unseen = training.as_py_dataset(), {}, held_out.as_py_dataset()
history = model.fit(
    batches,
    epochs=2,
    validation_data=unseen,
    callbacks=[
        keras.callbacks.EarlyStopping("val_stack_2_pck", mode="max", patience=3),
        keras.callbacks.ModelCheckpoint("best.keras", "val_stack_2_pck", mode="max"),
    ],
    verbose=0,
    **options,
).history
wanted = {"loss", "stack_1_loss", "stack_1_pck", "stack_2_pck", "val_loss", "val_stack_2_pck"}
assert wanted <= set(history), sorted(history)
assert np.isfinite(history["val_loss"]).all() and os.path.exists("best.keras")
best = keras.models.load_model("best.keras")
scores = best.evaluate(unseen, verbose=0, return_dict=True)
assert abs(scores["loss"] - history["val_loss"][-1]) < 1e-2 * abs(scores["loss"]) + 1e-3, scores
model.save_to_preset("my_model")
assert StackedHourglass.from_preset("my_model").skeleton == model.skeleton
