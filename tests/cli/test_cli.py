"""The command line as a whole: help, usage mistakes, exit statuses."""

import io
import json
import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from keras_hourglass import cli, codec
from keras_hourglass.cli.common import fit_verbosity
from keras_hourglass.data.figures import write_dataset
from keras_hourglass.export import FORMATS, JOINT_FORMATS
from keras_hourglass.io.images import MAX_PIXELS
from keras_hourglass.metrics import MEANS


def _run(*words):
    return subprocess.run(
        [sys.executable, "-m", "keras_hourglass", *words], capture_output=True, text=True
    )


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"\n    {command} " in text or f"\n    {command}\n" in text


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_without_loading_tensorflow(command):
    code = (
        "import sys; from keras_hourglass import cli\n"
        f"try: cli.main([{command!r}, '--help'])\n"
        "except SystemExit as stopped: assert not stopped.code\n"
        "print('LOADED', [m for m in ('tensorflow', 'keras', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: keras-hourglass {command}")
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    "words, reason",
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "required: --out"),
        (["train", "--out", "run"], "needs a recipe or data of your own"),
        (["predict", "--boxed"], "required"),
        (["list", "--jsn"], "unrecognized arguments: --jsn; did you mean --json? (see 'keras-"),
        (["list", "--json", "x", "y"], "list: unrecognized arguments: x y (see 'keras-hourglass l"),
    ],
)
def test_usage_mistakes_take_one_line_and_status_2(words, reason):
    done = _run(*words)
    assert done.returncode == 2 and not done.stdout
    assert reason in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "error, status, text",
    [
        (ValueError("a defect"), None, None),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "Permission denied: /x/y"),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_how_failures_end(monkeypatch, capsys, error, status, text):
    from keras_hourglass.cli import list_presets

    def fail(args):
        raise error

    monkeypatch.setattr(list_presets, "run", fail)
    if status is None:
        with pytest.raises(ValueError, match="a defect"):
            cli.main(["list"])
        return
    assert cli.main(["list"]) == status
    assert text in capsys.readouterr().err


def test_user_errors_are_one_line(monkeypatch, capsys):
    from keras_hourglass.cli import list_presets
    from keras_hourglass.errors import UserError

    def fail(args):
        raise UserError("Two\n  lines.")

    monkeypatch.setattr(list_presets, "run", fail)
    assert cli.main(["list"]) == 2
    assert capsys.readouterr().err == "keras-hourglass list: Two lines.\n"


def test_tensorflow_loads_quietly_unless_it_fails(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    module = tmp_path / "tensorflow" / "__init__.py"
    root = pathlib.Path(cli.__file__).parents[2]
    code = (
        "from keras_hourglass.cli.quiet import QuietTensorFlow; QuietTensorFlow.install()\n"
        "import os, tensorflow; os.write(2, b'afterwards')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}

    def run():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    module.write_text("import os; os.write(2, b'I0000 no drivers\\n')")
    assert run().stderr == "afterwards"
    module.write_text("import os; os.write(2, b'no such instruction\\n'); raise ImportError('x')")
    assert run().stderr.startswith("no such instruction\nTraceback")


def test_decoders_on_offer_are_the_codecs(capsys):
    words = ["evaluate", "--model", "m", "--data", "d", "--out", "o", "--decoder"]
    for name in codec.DECODERS:
        assert cli.build_parser("evaluate").parse_args([*words, name]).decoder == name
    with pytest.raises(SystemExit):
        cli.build_parser("evaluate").parse_args([*words, "best"])
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and all(name in told for name in ("best", *codec.DECODERS))
    with pytest.raises(SystemExit):
        cli.build_parser("evaluate").parse_args(["evaluate", "--help"])
    assert f"from its heatmap: {', '.join(codec.DECODERS)}" in " ".join(
        capsys.readouterr().out.split()
    )


def test_no_command_needs_numpy_to_show_its_help():
    code = (
        "import contextlib, sys; from keras_hourglass import cli\n"
        "for command in cli.COMMANDS:\n"
        "    with contextlib.suppress(SystemExit): cli.main([command, '--help'])\n"
        "    assert 'numpy' not in sys.modules, command"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("show this help message") == len(cli.COMMANDS)


def test_choices_on_offer_are_the_packages(capsys):
    for command, expected in (
        ("export", f"--format {{savedmodel,{','.join((*JOINT_FORMATS, *FORMATS))}}}"),
        ("export", f"(default: {MAX_PIXELS // 10**6} million)"),
        ("score", f"the mean is taken over: {', '.join(MEANS)}"),
    ):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert expected in " ".join(capsys.readouterr().out.split())


def test_no_progress_bar_in_a_log_file(monkeypatch):
    """Keras: 1 is a bar, 2 one line per epoch."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert fit_verbosity() == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert fit_verbosity() == 1 and fit_verbosity(quiet=True) == 2


def test_hints_come_without_a_loggers_prefix():
    """Once somebody has called `logging.warning`, Python puts level and name before each line."""
    code = (
        "import logging; from keras_hourglass import cli\n"
        "try: cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "logging.warning('first'); logging.getLogger('keras_hourglass').warning('a hint')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "first\na hint\n"


def test_names_in_files_do_not_command_the_terminal(tmp_path, capsys):
    # A key that sets the title of the window, as YAML writes it.
    (tmp_path / "a.yaml").write_text('"\\e]0;title\\a": 1\n')
    assert cli.main(["train", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "\\x1b]0;title\\x07" in told and "\x1b" not in told and "\x07" not in told


def test_names_of_joints_and_pictures_do_not_command_the_terminal(tmp_path, capsys):
    """In notes, in tables and in what is said of a skeleton."""
    title = "\x1b]0;title\x07"
    write_dataset(tmp_path, 2, seed=4, size=72)
    path = tmp_path / "person_keypoints.json"
    content = json.loads(path.read_text())
    names = content["categories"][0]["keypoints"]
    names[names.index("neck")] = f"neck{title}"
    content["categories"][0]["name"] = f"figure{title}"
    content["images"][1]["file_name"] = f"{title}\x9b2J.png"
    path.write_text(json.dumps(content))
    people = np.reshape([one["keypoints"] for one in content["annotations"]], (2, 14, 3))
    np.save(tmp_path / "preds.npy", people[..., :2].astype(float))
    spec = f"coco:{path}"
    for words in (
        ["data", "stats", spec],
        ["data", "check", spec, "--out", str(tmp_path / "check")],
        ["score", "--annotations", spec, "--predictions", str(tmp_path / "preds.npy"),
         "--out", str(tmp_path / "score")],
    ):  # fmt: skip
        assert cli.main(words) in (0, 1)
        told = "".join(capsys.readouterr())
        assert "\\x1b" in told and "title\\x07" in told
        assert not {"\x1b", "\x07", "\x9b"} & set(told)


def test_a_path_that_is_no_path_is_one_short_line(tmp_path, capsys):
    """The operating system's own errors repeat the whole of it."""
    assert cli.main(["train", "x" * 5000, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("keras-hourglass train: File name too long: …x") and len(told) < 400


def test_hints_do_not_command_the_terminal():
    record = logging.makeLogRecord({"msg": "a\x1b[2Jb\nc\x9bd"})
    assert cli._Lines("%(message)s").format(record) == "a\\x1b[2Jb\nc\\x9bd"
