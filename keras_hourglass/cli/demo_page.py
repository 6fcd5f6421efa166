"""`keras-hourglass demo-page`: a local web page to try models on photographs and videos (Gradio).

It needs the extra `[demo]`.
"""

import contextlib
import functools
import importlib.resources
import os
import signal
import socket
import tempfile
import threading

from keras_hourglass.cli.page_guard import (
    MAX_UPLOAD,
    Guard,
    check_photo,
    check_video,
    errors_in_one_line,
    guard_input,
    said,
)
from keras_hourglass.cli.page_results import Demo
from keras_hourglass.errors import UserError, optional

# Names of an address at which every machine of the network reaches the page.
_EVERYWHERE = ("0.0.0.0", "::", "")
_INTRODUCTION = (
    "## Stacked hourglass\nDrop a photo to see everybody in it. To look at one person drag a box "
    "over it and press Predict; click once to forget the box. Nothing leaves this machine."
)
_LEGEND = (
    "Left is blue, right is orange (the person's own sides); joints below their threshold are left "
    "out, skeletons that are not sure are pale."
)


def add_arguments(parser):
    """The options of the command."""
    parser.add_argument(
        "--model", action="append", metavar="NAME_OR_PATH",
        help="a model to choose from; repeat it for several (default: those with weights)",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default: 7860)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a name under which the page may be reached, e.g. behind a proxy; repeat it for more",
    )  # fmt: skip
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(args):
    """Serve the page until Ctrl-C."""
    from keras_hourglass.zoo.store import preset_named

    models = None if args.model is None else [preset_named(name) for name in args.model]
    names = [*args.allow_host, args.host]
    if args.host in _EVERYWHERE:
        names.append(socket.gethostname())
    with _own_folder() as folder:
        page, options = build_page(models, names, folder)
        with errors_in_one_line():
            try:
                _, address, _ = page.launch(
                    server_name=args.host, server_port=args.port, inbrowser=args.open, quiet=True,
                    prevent_thread_lock=True, **options,
                )  # fmt: skip
            except (OSError, OverflowError) as error:
                raise UserError(
                    f"The page cannot be served ({error}). Choose another --port or --host."
                ) from error
            except ValueError as error:  # it looks at itself, and waits some seconds
                raise UserError(
                    "The page must be reachable from this machine. Received: no answer at "
                    f"{args.host}:{args.port}. Set NO_PROXY=localhost,127.0.0.1 where there is a "
                    "proxy; on a busy machine try again."
                ) from error
            print(f"{address} until Ctrl-C", flush=True)
            _wait(page)
    return 0


def _wait(page):
    """Serve until Ctrl-C, or until the process is asked to end."""
    ended = threading.Event()
    with contextlib.suppress(ValueError):  # in another thread than the first
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        ended.wait()
    finally:
        page.close(verbose=False)


@contextlib.contextmanager
def _own_folder():
    """A folder for uploads and results, erased at the end: photos of people are nobody else's."""
    name, before = "GRADIO_TEMP_DIR", os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="keras_hourglass_page_") as folder:
        os.environ[name] = folder  # read when a component is made
        try:
            yield folder
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def build_page(models=None, names=(), folder=None):
    """The page, not yet served.

    Args:
        models: names or paths of models to choose from; by default all with weights.
        names: host names under which it may be reached, see `page_guard.Guard`.
        folder: for results; by default a new one.

    Returns:
        A `gradio.Blocks`, and the keyword arguments for its `launch`.

    Raises:
        UserError: if Gradio is not installed, or there is no such model.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        gradio = optional("gradio")
    except ImportError as error:
        raise UserError(
            f"The page needs Gradio, which cannot be loaded ({error}). "
            "Run: pip install 'keras_hourglass[demo]'."
        ) from error
    from starlette.middleware import Middleware

    demo = Demo(models, folder)
    with gradio.Blocks(title="keras_hourglass", delete_cache=(3600, 3600)) as page:
        gradio.Markdown(_INTRODUCTION)
        with gradio.Accordion("Model", open=True, elem_id="choices"):
            chosen = _choices(gradio, demo)
        with gradio.Tab("Photo"):
            _photo_tab(gradio, demo, chosen)
        with gradio.Tab("Video", elem_id="video-tab"):
            _video_tab(gradio, demo, chosen)
    fonts = ["system-ui", "sans-serif"]  # those of the machine: none is fetched
    return page, {
        # Who asks for it has the address of a page about all visits printed in the terminal.
        "enable_monitoring": False,
        "app_kwargs": {"middleware": [Middleware(Guard, names=tuple(names))]},
        "footer_links": [],
        "head": _head(),
        "max_file_size": MAX_UPLOAD,
        "mcp_server": False,
        "share": False,
        "show_error": True,
        "ssr_mode": False,
        "theme": gradio.themes.Default(font=fonts, font_mono=["ui-monospace", "monospace"]),
    }


def _choices(gradio, demo):
    """The model and how it runs: the components model, stack and flip."""
    first = demo.models[0]
    stacks = demo.stacks(first)
    with gradio.Row():
        model = guard_input(gradio.Dropdown(demo.models, value=first, label="Model"))
        stack = guard_input(
            gradio.Dropdown(stacks, value=stacks[0], label="Stack", elem_id="stack")
        )
    flip = guard_input(gradio.Checkbox(True, label="Average with the mirrored picture"))
    about = gradio.Markdown(demo.about(first), elem_id="about")

    def choose(name):
        numbers = demo.stacks(name)
        return gradio.update(choices=numbers, value=numbers[0]), demo.about(name)

    model.change(_told(gradio, choose), model, [stack, about], api_visibility="private")
    return model, stack, flip


def _photo_tab(gradio, demo, chosen):
    with gradio.Row():
        with gradio.Column():
            photo, box, button = _photo_inputs(gradio, demo)
        with gradio.Column():
            shown = _photo_outputs(gradio)
    person = guard_input(
        gradio.Dropdown([1], value=1, label="Heatmaps of person", elem_id="person", visible=False)
    )
    tiles = gradio.Gallery(
        label="Heatmaps, each by its own height", elem_id="tiles", columns=5,
        height="auto", object_fit="contain", buttons=["download", "fullscreen"], preview=False,
    )  # fmt: skip
    with gradio.Accordion("JSON", open=False):
        document = gradio.Code(language="json", elem_id="document", max_lines=24)
    inputs, outputs = [photo, box, *chosen], [*shown, person, tiles, document]

    def show(*values):
        answer = demo.predict(*values)
        numbers = list(range(1, answer.people + 1))
        whom = gradio.update(choices=numbers, value=answer.person, visible=answer.people > 1)
        files = [gradio.update(value=path, interactive=True) for path in answer.files]
        return (
            answer.painted, _marked(answer.hint), answer.facts, *files, whom, answer.tiles,
            answer.document,
        )  # fmt: skip

    def empty():
        files = [gradio.update(value=None, interactive=False)] * 2
        return "", None, "", "", *files, gradio.update(value=1, visible=False), None, ""

    show = _told(gradio, show)
    hidden = {"api_visibility": "private"}
    # A new photo has other people: nothing of the old one stays.
    photo.change(empty, None, [box, *outputs], show_progress="hidden", **hidden).then(
        lambda *values: show(*values) if values[0] else empty()[1:], inputs, outputs, **hidden
    )
    button.click(show, inputs, outputs, api_name="predict")
    person.input(show, [*inputs, person], outputs, show_progress_on=[tiles], **hidden)


def _photo_inputs(gradio, demo):
    """The photo, the box in it, and the button that predicts."""
    photo = guard_input(
        gradio.Image(
            type="filepath", sources=["upload", "webcam", "clipboard"], label="Photo",
            elem_id="photo", height=420, image_mode=None,
            # A mirror would turn everybody's left into right.
            webcam_options=gradio.WebcamOptions(mirror=False),
        ),
        check_photo,
    )  # fmt: skip
    box = guard_input(
        gradio.Textbox(
            label="Box: x, y, w, h (pixels of the photo)", elem_id="box", max_length=200,
            placeholder="everybody who is found",
        )
    )  # fmt: skip
    button = gradio.Button("Predict", variant="primary", elem_id="predict")
    paths = [[path] for path in demo.examples()]
    gradio.Examples(paths, photo, label="Examples (generated figures)", elem_id="examples")
    return photo, box, button


def _photo_outputs(gradio):
    """The painted photo, what to think of it, facts, and the files to keep."""
    painted = gradio.Image(
        label="Skeletons", elem_id="painted", height=420, type="filepath",
        # And no button that uploads the picture to share it.
        buttons=["download", "fullscreen"],
    )  # fmt: skip
    hint = gradio.Markdown(elem_id="hint")
    facts = gradio.Markdown(elem_id="facts")
    with gradio.Row():
        keep = [_download(gradio, *each) for each in (("JSON", "json"), ("Picture", "picture"))]
    gradio.Markdown(_LEGEND)
    return [painted, hint, facts, *keep]


def _video_tab(gradio, demo, chosen):
    with gradio.Row():
        with gradio.Column():
            video = guard_input(
                gradio.Video(
                    sources=["upload", "webcam"], label="Video", elem_id="video", height=420,
                    include_audio=False, webcam_options=gradio.WebcamOptions(mirror=False),
                ),
                check_video,
            )  # fmt: skip
            every = guard_input(
                gradio.Slider(
                    1, 10, value=5, step=1, label="The detector looks in every … frame",
                    elem_id="every",
                )
            )  # fmt: skip
            button = gradio.Button("Follow", variant="primary", elem_id="follow")
        with gradio.Column():
            painted = gradio.Video(
                label="Everybody with a number", elem_id="followed", height=420, autoplay=True,
                loop=True, buttons=["download"],
            )  # fmt: skip
            hint, facts = gradio.Markdown(elem_id="video-hint"), gradio.Markdown(elem_id="seen")
            with gradio.Row():
                kinds = (("Video", "video"), ("JSON", "frames"), ("Table", "table"))
                keep = [_download(gradio, *kind) for kind in kinds]

    def follow(file, name, _, flip, every, progress=gradio.Progress()):  # noqa: B008
        answer = demo.follow(
            file, name, flip, every, lambda done, of: progress((done, of), unit="frames")
        )
        files = [gradio.update(value=path, interactive=True) for path in answer.files]
        return answer.painted, _marked(answer.hint), answer.facts, *files

    button.click(
        _told(gradio, follow), [video, *chosen, every], [painted, hint, facts, *keep],
        api_name="follow", show_progress_on=[painted],
    )  # fmt: skip


def _download(gradio, label, name):
    return gradio.DownloadButton(label, interactive=False, elem_id=f"keep-{name}", size="sm")


def _marked(hint):
    return f"⚠ {hint}" if hint else ""


def _told(gradio, function):
    """The function, whose mistakes are told at the page and not as tracebacks in the terminal."""

    @functools.wraps(function)
    def told(*inputs, **options):
        try:
            return function(*inputs, **options)
        except Exception as error:
            raise gradio.Error(said(error), duration=None, print_exception=False) from error

    return told


def _head():
    """Style and script for the head of the page: a box is dragged over the photo."""
    folder = importlib.resources.files("keras_hourglass.cli") / "templates"
    style, script = (
        (folder / f"demo_page.{suffix}").read_text(encoding="utf-8") for suffix in ("css", "js")
    )
    return f"<style>\n{style}</style>\n<script>\n{script}</script>\n"
