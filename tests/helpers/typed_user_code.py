"""What users write, for type checkers alone: it is never run."""

from typing import assert_type

import numpy as np

import keras_hourglass as kh
from keras_hourglass import HeatmapCodec, Pose, Predictor, StackedHourglass
from keras_hourglass.data import Augmentation, PoseDataset, PoseRecords, load_records
from keras_hourglass.network import loss_and_metrics
from keras_hourglass.prediction import PicturePoses

predictor = kh.Predictor("hourglass_tiny_lsp", flip=False, thresholds={"neck": 0.3})
assert_type(predictor, Predictor)
street = predictor("street.jpg")
assert_type(street, PicturePoses)
street.save("street.png", overwrite=True, boxes=True)
for pose in street:
    assert_type(pose, Pose)
    for name, (x, y), score in zip(pose.names, pose.keypoints, pose.scores, strict=True):
        print(f"{name}: {x:.0f}, {y:.0f} ({score:.2f})")
assert_type(predictor(["a.jpg", "b.jpg"]), list[Pose])
assert_type(predictor(np.zeros((40, 60, 3), np.uint8)), PicturePoses)
for frame in predictor.track("film.mp4", every=5):
    assert_type(frame, PicturePoses)
    print(frame.seconds, frame.ids)

records = load_records("coco:my_annotations.json")
assert_type(records, PoseRecords)
model = StackedHourglass.from_preset("hourglass_tiny_lsp", skeleton=records.skeleton)
assert_type(model, StackedHourglass)
codec = HeatmapCodec(model.input_size, sigma=1.0)
data = PoseDataset(records, codec, 4, Augmentation(), outputs=model.output_names)
model.compile("adam", **loss_and_metrics(codec))
model.fit(data.as_tf_dataset(), steps_per_epoch=len(data), epochs=20)
model.save_to_preset("my_model")
