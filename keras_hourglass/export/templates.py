"""Texts of the files beside a SavedModel; `$name` and the like are filled in at export."""

MODEL = """\
  config {
    name: "$name"
    base_path: "/models/$name"
    model_platform: "tensorflow"
  }
"""

MODELS = """\
# Models of this server; it takes the highest version of each.
model_config_list {
}
"""

BATCHING = """\
# Requests that arrive together are run together. Measured with benchmarks/serving.py: eight
# pictures at once take 0.6 of the processor time of eight alone with a small network (64 features,
# 128×128), and as much as eight alone with a large one (256 features, 256×256), so small batches
# that wait little are best on processors. On a GPU, try max_batch_size 32 and 5000 microseconds.
max_batch_size { value: 8 }
batch_timeout_micros { value: 1000 }
num_batch_threads { value: $cores }
max_enqueued_batches { value: 64 }
"""

MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

COMPOSE = """\
# docker compose up                 on processors
# docker compose --profile gpu up serving-gpu   on an NVIDIA GPU
# gRPC on 8500, REST on 8501. The image's version should be at least TensorFlow $tensorflow.
x-serving: &serving
  volumes:
    - .:/models:ro
  command:
    - --model_config_file=/models/models.config
    - --model_config_file_poll_wait_seconds=60
    - --enable_batching=true
    - --batching_parameters_file=/models/batching.config
    - --monitoring_config_file=/models/monitoring.config
  ports:
    - "127.0.0.1:8500:8500"
    - "127.0.0.1:8501:8501"
  environment: &environment
    TF_CPP_MIN_LOG_LEVEL: "1"
  read_only: true
  tmpfs: [/tmp]
  mem_limit: 4g
  restart: unless-stopped

services:
  serving:
    <<: *serving
    image: tensorflow/serving:$${SERVING_TAG:-latest}
    environment:
      <<: *environment
      TF_ENABLE_ONEDNN_OPTS: "1"
      # A small network (64 features, 128×128) answers a single picture sooner with one thread per
      # operation, and leaves the other cores to other requests; a large one does not.
      # TF_NUM_INTRAOP_THREADS: "1"
  serving-gpu:
    <<: *serving
    image: tensorflow/serving:$${SERVING_TAG:-latest}-gpu
    profiles: [gpu]
    mem_limit: 16g
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: 1
              capabilities: [gpu]
"""

KUBERNETES = """\
# The folder of models on a volume claim named "models".
apiVersion: apps/v1
kind: Deployment
metadata:
  name: keras-hourglass
spec:
  replicas: 1
  selector:
    matchLabels: {app: keras-hourglass}
  template:
    metadata:
      labels: {app: keras-hourglass}
    spec:
      containers:
        - name: serving
          image: tensorflow/serving:latest
          args:
            - --model_config_file=/models/models.config
            - --model_config_file_poll_wait_seconds=60
            - --enable_batching=true
            - --batching_parameters_file=/models/batching.config
            - --monitoring_config_file=/models/monitoring.config
          env:
            - {name: TF_ENABLE_ONEDNN_OPTS, value: "1"}
          ports:
            - {name: grpc, containerPort: 8500}
            - {name: rest, containerPort: 8501}
          resources:
            requests: {cpu: "2", memory: 1Gi}
            limits: {memory: 4Gi}
          readinessProbe:
            httpGet: {path: /v1/models/$name, port: rest}
            periodSeconds: 5
          volumeMounts:
            - {name: models, mountPath: /models, readOnly: true}
      volumes:
        - name: models
          persistentVolumeClaim: {claimName: models}
---
apiVersion: v1
kind: Service
metadata:
  name: keras-hourglass
spec:
  selector: {app: keras-hourglass}
  ports:
    - {name: grpc, port: 8500, targetPort: grpc}
    - {name: rest, port: 8501, targetPort: rest}
"""

SIGNATURE = """\
# $name

$stacks-stack hourglass network, input $height×$width, $joints joints. Weights: $preset.
Joints are in pixels of the picture after its EXIF rotation; the centre of the first pixel is
(0, 0). N pictures of any sizes, 0 or more.

- `serving_default`
  - takes `image_bytes` string (N,);
  - returns `keypoints` (N, $joints, 2) float32 `x, y`, `scores` (N, $joints) float32,
    `present` (N, $joints) bool, `valid` (N,) bool. Without a box the person fills the picture.
- `predict_boxes`
  - takes `image_bytes` string (N,) and `boxes` (N, 4) float32 `x, y, w, h`;
  - returns the same.
- `heatmaps`
  - takes `images` (N, $height, $width, 3) float32, RGB 0–255;
  - returns $outputs, each (N, $map_height, $map_width, $joints) float32.
- `metadata`
  - takes `query`, any N strings;
  - returns `json` string (N,): names of joints, skeleton, sizes, thresholds.

Pictures are JPEG or PNG files of at most $max_pixels pixels: colour, grey, palette,
transparent, 8 or 16 bits. One that cannot be read, or whose box is not finite or empty, gets
`valid` false and NaN joints; the others of its batch are not affected. $averaging

With curl, over REST (port 8501):

```sh
(printf '{"instances": [{"b64": "'; base64 < photo.jpg | tr -d '\\n'; printf '"}]}') |
  curl --fail --silent --data @- http://localhost:8501/v1/models/$name:predict
```

With Python, over gRPC (port 8500; `pip install keras_hourglass[serving]`):

```python
from keras_hourglass.serving import Client

for pose in Client("localhost:8500", model="$name").predict("photo.jpg"):
    print(dict(zip(pose.names, pose.keypoints.tolist())))
```

## Limits

- Memory: the header is read first, and a picture of more pixels is refused without decoding it.
  Decoding takes 3 bytes for each pixel (9 for a progressive JPEG), $parallel pictures at a time.
- Animated files: a PNG's first picture; other formats than JPEG and PNG are not `valid`.
- EXIF rotation is honoured in JPEG files.
- The server itself takes messages of any length: limit them in the proxy before it. gRPC clients
  refuse answers over 4 MB unless told otherwise, which matters for `heatmaps`.
"""
