"""The same training on several devices and processes."""

import json
import os
import socket

import numpy as np
import pytest
from trainings import arrays, finish, start

from keras_hourglass.errors import RecipeError
from keras_hourglass.training.distribution import Layout, layout
from keras_hourglass.training.recipe import load_recipe


def assert_same(first, second, tolerance):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=tolerance, err_msg=name)


@pytest.mark.full
def test_mirrored_on_two_devices(tmp_path):
    finish(start("mirrored", tmp_path))
    one, both = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "all"))
    for name in ("loss", "val_pck"):
        np.testing.assert_allclose(both[name], one[name], rtol=1e-4)
    assert_same(arrays(tmp_path / "one.npz"), arrays(tmp_path / "all.npz"), 2e-5)
    # Each replica normalises with its own half, but keeps the statistics of the whole batch.
    apart, together = (arrays(tmp_path / f"{name}.npz") for name in ("apart", "together"))
    for name in ("stem/bn/moving_mean", "stem/bn/moving_variance"):
        np.testing.assert_allclose(apart[name], together[name], rtol=1e-4, atol=1e-6)
    assert np.isfinite(json.loads((tmp_path / "half.json").read_text())["loss"]).all()
    # Nothing was written and the scale halved; then 1 - 0.5 * (4 + 4) / 4.
    assert json.loads((tmp_path / "overflow.json").read_text()) == [1.0, 4.0, 0.0]


@pytest.mark.full
def test_jax_on_two_devices_and_in_two_processes(tmp_path):
    pytest.importorskip("jax")
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    finish(start("parallel", tmp_path, KERAS_BACKEND="jax", XLA_FLAGS=flags))
    assert_same(arrays(tmp_path / "one.npz"), arrays(tmp_path / "all.npz"), 2e-5)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {
        "KERAS_BACKEND": "jax",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"localhost:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    finish(
        *(
            start("process", tmp_path, KERAS_DISTRIBUTION_PROCESS_ID=str(number), **shared)
            for number in range(2)
        )
    )
    first, second = (arrays(tmp_path / f"process{number}.npz") for number in range(2))
    assert_same(first, second, 0)
    assert_same(first, arrays(tmp_path / "one.npz"), 2e-5)
    rows = (tmp_path / "processes" / "log.csv").read_text().splitlines()
    assert len(rows) == 3, "only one process writes"


def test_a_batch_must_be_shared_evenly(monkeypatch):
    monkeypatch.setattr(
        "keras_hourglass.training.distribution._mirrored",
        lambda: Layout(4),
    )
    recipe = load_recipe({"training": {"devices": "all", "batch_size": 6}})
    with pytest.raises(RecipeError, match=r"^training\.batch_size: .*Use 4 or 8"), layout(recipe):
        pass


def test_several_processes_need_all_devices(monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "localhost:1")
    with pytest.raises(RecipeError, match=r"^training\.devices: "), layout(load_recipe({})):
        pass
