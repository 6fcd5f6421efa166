"""MediaPipe's pose solution as a process that answers line by line, for `small_networks.py`.

    VENV/bin/pip install mediapipe==0.10.21     # the last with the solution and its models inside
    VENV/bin/python benchmarks/blazepose.py

Runs in an environment of its own, since MediaPipe needs another NumPy. Reads the path of a picture
per line; answers with `{"seconds": file to landmarks, "points": 33 × (x, y) in pixels or null}`.
The first line out names the landmark network's file and the version.
"""

import json
import os
import pathlib
import sys
import time

os.environ.setdefault("GLOG_minloglevel", "2")

import cv2
import mediapipe


def main():
    solution = mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1)
    network = pathlib.Path(mediapipe.__file__).parent / "modules/pose_landmark"
    facts = {
        "version": mediapipe.__version__,
        "network": str(network / "pose_landmark_full.tflite"),
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        image = cv2.cvtColor(cv2.imread(line.strip()), cv2.COLOR_BGR2RGB)
        found = solution.process(image).pose_landmarks
        points = None
        if found is not None:
            height, width = image.shape[:2]
            points = [[p.x * width - 0.5, p.y * height - 0.5] for p in found.landmark]
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "points": points}), flush=True)


if __name__ == "__main__":
    main()
