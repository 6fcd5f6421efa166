"""Packaging of keras_hourglass."""

import pathlib
import re
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "keras_hourglass/__init__.py").read_text(encoding="utf-8")
).group(1)


EXTRAS = {
    "jax": ["jax>=0.4.30"],
    # Training on this backend, and reading published checkpoints.
    "torch": ["torch>=2.6"],
    # `keras-hourglass serve`; uvloop is not there for Windows, where asyncio's own loop does.
    "serve": [
        "httptools>=0.6",
        "prometheus-client>=0.17",
        "starlette>=0.37",
        "uvicorn>=0.30",
        "uvloop>=0.19; sys_platform != 'win32'",
    ],
    "serving": ["grpcio", "tensorflow-serving-api>=2.15"],
    "onnx": [],  # what every installation has; kept for those who ask for it
    "openvino": ["openvino"],
    "litert": ["ai-edge-litert"],
    "coco": ["pycocotools"],
    "sleap": ["sleap-io>=0.5"],
    "heif": ["pillow-heif>=0.16"],
    # The first with its own `visible` and scores of people; it takes the OpenCV that is there.
    "supervision": ["supervision>=0.29"],
    "parquet": ["pyarrow>=14"],
    "ray": ["ray[data]>=2.40"],  # brings pyarrow
    "video": ["imageio-ffmpeg>=0.5"],  # H.264, which browsers play
    # The first with these buttons; the page's videos want an encoder that browsers know.
    "demo": ["gradio>=6", "imageio-ffmpeg>=0.5"],
    # TensorFlow Addons ended with TensorFlow 2.15 and Keras 2; Python 3.11 at most.
    # Later releases of onnx ask for numbers that this TensorFlow's ml_dtypes has not.
    "addons": [
        "tensorflow==2.15.*",
        "keras==2.15.*",
        "tensorflow-addons==0.23.*",
        "numpy<2",
        "onnx<1.19",
    ],
}
# Ray is not among them: its test is run where it is installed.
_TESTED = (
    "serve", "serving", "openvino", "litert", "coco", "sleap", "heif", "supervision", "parquet",
)  # fmt: skip
EXTRAS["test"] = sorted(
    # What editors know of the package is asked of jedi and of pyright's edition with its own Node.
    # KerasHub brings the test that its own networks pass; Grain is imported by it.
    {
        "basedpyright",
        "grain",
        "hypothesis",
        "jedi",
        "keras-hub>=0.20",
        "mypy>=2",
        "ovmsclient>=2023.1",  # a client of others for the tests of serving
        "pdoc>=15",
        "pytest",
        "pytest-xdist",
        "ruff",
    }.union(*(EXTRAS[name] for name in _TESTED))
)


class BuildWithWeights(build_py):
    """Small weights lie in `weights/` of the repository and travel inside the package."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = pathlib.Path(self.build_lib) / "keras_hourglass" / "weights"
        for path in sorted((HERE / "weights").rglob("*")):
            if path.is_file():
                copy = target / path.relative_to(HERE / "weights")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)


setup(
    name="keras_hourglass",
    version=VERSION,
    description="Stacked hourglass networks for human pose estimation in Keras",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["keras_hourglass", "keras_hourglass.*"]),
    package_data={
        "keras_hourglass": ["py.typed", "recipes/*.yaml", "examples/*.ipynb", "*/templates/*"]
    },
    cmdclass={"build_py": BuildWithWeights},
    # Pillow and OpenCV decode pictures of strangers: the oldest releases are the first without
    # CVE-2023-4863 (libwebp, in both) and CVE-2024-28219 (Pillow).
    install_requires=[
        "filelock>=3.12",
        "h5py>=3.8",
        "httpx>=0.25",
        "jinja2>=3.1",
        # 2.15 is TensorFlow Addons'; Keras 3 before 3.7 lacks `keras.tree`, policies by name or
        # losses of some outputs alone.
        "keras>=2.15," + ",".join(f"!=3.{minor}.*" for minor in range(7)),
        "matplotlib>=3.7",
        "numpy>=1.24",
        # The first photo after 1.3 s instead of 11 to 14: neither Keras nor TensorFlow is loaded.
        "onnx>=1.14",
        "onnxruntime>=1.15",
        "opencv-python-headless>=4.8.1.78",
        "pillow>=10.3",
        "pooch>=1.8",
        "pydantic>=2",
        "pyyaml>=6.0",
        "scipy>=1.10",
        "tenacity>=9.0",
        "tensorboard>=2.15",
        "tensorflow>=2.15",
        "tqdm>=4.60",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["keras-hourglass=keras_hourglass.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
