"""What several commands share: options, progress, tables, the data they read."""

import argparse
import shlex
import signal
import sys
import threading

from keras_hourglass.choices import DECODERS, MEANS


class CtrlC:
    """Remembers Ctrl-C, a context of the main thread.

    Python drops the exception where it falls into a finaliser or a function that C code called;
    a long run then went on for as long as it took.
    """

    def __init__(self):
        self.asked, self._before = False, None

    def __enter__(self):
        own = threading.current_thread() is threading.main_thread()
        # Whoever ignores it, as `nohup` may, goes on ignoring it.
        if own and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number, frame):
        self.asked = True
        raise KeyboardInterrupt

    def check(self):
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed."""
        if self.asked:
            raise KeyboardInterrupt


def add_overrides(parser, what="the recipe"):
    """The option `--set`, repeatable, as `args.overrides`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help=f"change one value of {what} (repeatable)",
    )


def add_flip(parser):
    """The options `--flip` and `--no-flip`, as `args.flip`."""
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average with the mirrored picture (default: yes)",
    )


def add_decoder(parser, scope=""):
    """The option `--decoder`, as `args.decoder`."""
    parser.add_argument(
        "--decoder",
        choices=DECODERS,
        metavar="NAME",
        help=f"{scope}how a joint is read from its heatmap: %(choices)s (default: the model's, or "
        "quarter)",
    )


def add_mean_over(parser):
    """The option `--mean-over`, as `args.mean_over`."""
    parser.add_argument(
        "--mean-over",
        choices=MEANS,
        default="counted",
        metavar="KIND",
        help="what the mean is taken over: %(choices)s (default: %(default)s)",
    )


def command_line():
    """The command as it was typed, for reports."""
    return "keras-hourglass " + shlex.join(sys.argv[1:])


def progress_bar(total, unit):
    """A progress bar on the error stream; nothing where that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", file=sys.stderr, disable=None, leave=False)


def fit_verbosity(quiet=False):
    """`verbose` of `fit`: a bar where it can be seen, else, or if `quiet`, one line per epoch.

    A progress bar in a log file is thousands of control characters.
    """
    return 1 if sys.stdout.isatty() and not quiet else 2


def add_own_data(parser):
    """What can be said of data of one's own, as `args.images` and `args.pairs`."""
    parser.add_argument(
        "--images", metavar="DIR", help="folder of the pictures, where they are not found"
    )
    parser.add_argument(
        "--pairs",
        metavar="A=B,C=D",
        help="joints that mirror each other, by name or number from 1, where names do not tell",
    )


def limited_records(
    spec, root=None, limit=None, need_pictures=True, skeleton=None, images=None, pairs=None
):
    """The records of a data set, or the first of them; its notes go to the error stream.

    Args:
        spec: as in `load_records`; of data of one's own also the path alone.
        root: folder that a relative path starts from.
        limit: keep so many people; all by default.
        need_pictures: leave out people whose picture is missing.
        skeleton, images, pairs: as in `load_records`.

    Raises:
        UserError: if the limit is not positive.
    """
    from keras_hourglass.data.load import load_records, spec_of_path
    from keras_hourglass.errors import UserError, note

    if limit is not None and limit < 1:
        raise UserError(f"The limit must be at least 1. Received: {limit}.")
    specs = [spec] if isinstance(spec, str) else spec
    named = [spec_of_path(one, root) for one in specs]
    records = load_records(named, root, need_pictures, skeleton, images, pairs)
    for line in (*records.remarks, *records.notes):
        note(line)
    return records if limit is None else records.select(slice(limit))


def print_result(evaluation, sweep_rows=None):
    """The tables of an evaluation on the terminal."""
    from keras_hourglass.report import tables

    print(tables.caption(evaluation))
    print()
    print(tables.as_text(tables.stack_table(evaluation)))
    print()
    print(tables.as_text(tables.joint_table(evaluation)))
    print(f"\nmean error: {evaluation.pixels:.1f} px of the pictures")
    if evaluation.oks is not None:
        print(f"mean object keypoint similarity: {evaluation.oks:.1f} % ({tables.SIGMAS})")
    if sweep_rows:
        print()
        print(tables.as_text(tables.sweep_table(sweep_rows)))


def report_failures(failures, shown=5):
    """Name the pictures that were skipped; the exit status, 1 if there were any.

    Args:
        failures: path -> reason.
        shown: how many to name where `metrics.json` names the rest; `None` for all.
    """
    from keras_hourglass.errors import printable

    for path, reason in list(failures.items())[:shown]:
        print(printable(f"skipped: {path}: {' '.join(reason.split())}"), file=sys.stderr)
    if shown is not None and len(failures) > shown:
        print(f"skipped: {len(failures) - shown} more, see metrics.json", file=sys.stderr)
    return 1 if failures else 0
