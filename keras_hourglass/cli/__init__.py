"""The `keras-hourglass` command: parse arguments, call one function of the package.

Each subcommand is a module of this package with `add_arguments(parser)` and `run(args)`; only the
module of the command that was typed is imported, so that `--help` answers at once. `run` returns
the exit status (`None` counts as 0).
"""

import argparse
import errno
import importlib
import logging
import os
import sys

from keras_hourglass.cli.quiet import QuietTensorFlow
from keras_hourglass.errors import UserError, listed, nearest, printable

# command -> (module, one line for --help)
COMMANDS = {
    "train": ("train", "train a network from a recipe"),
    "recipes": ("recipes", "list the recipes of the package, or show one"),
    "evaluate": ("evaluate", "PCK per joint, group and stack, with a report"),
    "predict": ("predict", "joints of people in pictures, folders and videos"),
    "export": ("export", "write a model for TensorFlow Serving and other runtimes"),
    "serve": ("serve", "a small server for trials: TensorFlow Serving's REST and KServe's v2"),
    "synthesize": ("synthesize", "draw figures with exact joints"),
    "list": ("list_presets", "list the presets of the model zoo"),
    "info": ("describe_preset", "describe one preset"),
    "convert": ("convert", "convert a published PyTorch checkpoint"),
    "data": ("data", "check, show, convert and describe data sets"),
    "score": ("score", "score anyone's predictions against an annotation file"),
    "analyze": ("analyze", "the analyses of the paper: stacks, curves, presence, sensitivity"),
    "submit": ("submit", "write predictions in a data set's submission format"),
    "ablate": ("ablate", "run recipes side by side and draw their curves (Figure 8)"),
    "demo": ("demo", "the main job end to end on generated figures"),
    "demo-page": ("demo_page", "a local web page to try a model on photographs"),
}


# TensorFlow's and PyTorch's names.
_OUT_OF_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError")


class _Lines(logging.Formatter):
    """Hints without control characters of the names in them."""

    def formatMessage(self, record):  # noqa: N802
        return "\n".join(map(printable, super().formatMessage(record).split("\n")))


class _Parser(argparse.ArgumentParser):
    """Usage mistakes end in one line and exit status 2."""

    def parse_known_args(self, args=None, namespace=None):
        # The command complains, whose help lists the options, not the program around it.
        namespace, rest = super().parse_known_args(args, namespace)
        if rest:
            word = rest[0].partition("=")[0]
            near = nearest(word, self._option_string_actions, 0.75)
            hint = f"; did you mean {near}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
        return namespace, rest

    def error(self, message):
        command = self.prog
        self.exit(2, f"{command}: {message} (see '{command} --help')\n")


def build_parser(command=None):
    """The argument parser, with the options of one command filled in.

    Args:
        command: name of the command whose module is imported; `None` for none.
    """
    from keras_hourglass import __version__

    parser = _Parser(
        prog="keras-hourglass",
        description="Stacked hourglass networks for human pose estimation in Keras.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_line) in COMMANDS.items():
        subparser = commands.add_parser(name, help=help_line, description=help_line + ".")
        if name == command:
            loaded = importlib.import_module(f"keras_hourglass.cli.{module}")
            loaded.add_arguments(subparser)
            subparser.set_defaults(run=loaded.run)
    return parser


def main(argv=None):
    """Run the command line and return its exit status.

    0: done; 1: done in part, e.g. some pictures could not be read; 2: nothing done because of
    something the user can mend, named in one line; 130: interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        named = next((word for word in argv if not word.startswith("-")), None)
        # Quiet start: these are read by TensorFlow when it is first imported.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        QuietTensorFlow.install()
        # Libraries put "WARNING:keras_hourglass:" before hints where nothing else is arranged.
        screen = logging.StreamHandler()
        screen.setFormatter(_Lines("%(message)s"))
        logging.basicConfig(handlers=[screen])
        # TensorFlow leaves oneDNN out on processors with AVX2 only, where it trains small networks
        # 1.5 times as fast and predicts a mirrored photo in 0.55 to 0.95 of the time.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        for stream in (sys.stdout, sys.stderr):
            # A file name or a sign that the terminal cannot show is no reason to stop.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        return _run(build_parser(named if named in COMMANDS else None).parse_args(argv))
    except KeyboardInterrupt:
        print(f"\n{' '.join(['keras-hourglass', *argv[:1]])}: interrupted", file=sys.stderr)
        return 130


def _run(args):
    """Run a command; what the user can mend ends in one line and leaves no empty folder."""
    status = _status(args)
    if status == 2:
        from keras_hourglass.io.files import remove_empty_folders

        remove_empty_folders()
    return status


def _status(args):
    try:
        return args.run(args) or 0
    except UserError as error:
        reason = " ".join(str(error).split())
        print(f"keras-hourglass {args.command}: {printable(reason)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except Exception as error:
        if full := _full_disk(error):
            reason = full + _place(error, args)
        elif isinstance(error, OSError):
            reason = _describe(error)
        elif _out_of_memory(error):
            reason = _smaller(args)
        else:
            raise
        print(f"keras-hourglass {args.command}: {printable(reason)}", file=sys.stderr)
        return 2


# How operating systems, and libraries that repeat them, say that nothing more can be written.
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def _full_disk(error):
    """That the disk is full, whichever library says so and as what; `None` where it does not."""
    text = str(error)[:4000]
    sign = next((sign for sign in _FULL if sign in text), None)
    if getattr(error, "errno", None) == errno.ENOSPC and sign is None:
        sign = error.strerror
    return None if sign is None else f"the disk is full: {sign}"


def _place(error, args):
    path = getattr(error, "filename", None) or getattr(args, "out", None)
    return f"{f': {path}' if path else ''}. Free space on that disk, or write to another."


def _out_of_memory(error):
    """Whether the machine or its accelerator ran out of memory, as each library says it."""
    if isinstance(error, MemoryError) or type(error).__name__ in _OUT_OF_MEMORY:
        return True
    signs = ("RESOURCE_EXHAUSTED", "Insufficient memory", "out of memory")
    return any(sign in str(error)[:2000] for sign in signs)


def _smaller(args):
    """What to try when the memory does not suffice."""
    size = getattr(args, "batch_size", None)
    if size == 1 and args.command == "train":
        return "out of memory. Received: batches of 1. Try a smaller --set model.input_shape=…."
    if not size or size < 2:
        return "out of memory. Use smaller pictures, a smaller model or a machine with more."
    option = (
        f"--set training.batch_size={size // 2}"
        if args.command == "train"
        else f"--batch-size {size // 2}"
    )
    return f"out of memory. Received: batches of {size}. Try {option}."


def _describe(error):
    """An operating system's refusal in one line with the path it is about."""
    name = f": {listed([error.filename])}" if error.filename else ""
    return f"{error.strerror or error}{name}. Check the path, permissions and free space."
