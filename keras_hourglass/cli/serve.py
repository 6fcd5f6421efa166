"""`keras-hourglass serve`: a small server for trials and one machine.

It needs the extra `[serve]`.
"""

import argparse
import os

from keras_hourglass.cli.common import add_decoder


def add_arguments(parser):
    """The options of `serve`."""
    parser.add_argument(
        "model", help="name of a preset, training output, or folder of exported versions"
    )
    parser.add_argument("--name", help="name in addresses (default: the preset's or folder's)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8501,
        help="port (default: 8501; 0: a free one)",
    )
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average with the mirrored crop (default: yes; an export has its own word)",
    )
    add_decoder(parser)
    parser.add_argument(
        "--max-batch", type=int, default=8, help="most people in one run (default: 8)"
    )
    parser.add_argument(
        "--max-delay", type=float, default=2.0, metavar="MS",
        help="milliseconds that a run waits for others (default: 2)",
    )  # fmt: skip
    parser.add_argument(
        "--max-queue", type=int, default=128,
        help="most people who wait; more are refused with 429 (default: 128)",
    )  # fmt: skip
    parser.add_argument(
        "--max-request", type=float, default=48.0, metavar="MB",
        help="size of one request (default: 48)",
    )  # fmt: skip
    parser.add_argument(
        "--max-pixels", type=int, help="largest picture that is decoded (default: 50 million)"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="S",
        help="seconds to receive a request, and again to answer it (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--poll", type=float, default=1.0, metavar="S",
        help="seconds between two looks for a new version (default: 1)",
    )  # fmt: skip


def run(args):
    """Serve until SIGTERM or Ctrl-C."""
    from keras_hourglass.io.images import MAX_PIXELS
    from keras_hourglass.serving.server import Limits, create_app, serve
    from keras_hourglass.zoo.store import preset_named

    limits = Limits(
        max_batch=args.max_batch,
        max_delay=args.max_delay / 1000,
        max_queue=args.max_queue,
        max_request=int(args.max_request * 2**20),
        max_pixels=MAX_PIXELS if args.max_pixels is None else args.max_pixels,
        timeout=args.timeout,
    )
    model = args.model if os.path.exists(args.model) else preset_named(args.model)
    app = create_app(model, args.name, args.flip, args.decoder, limits, args.poll)
    server = app.state.server

    def started(address):
        backend = server.versions.current
        print(f"{backend.name}, version {backend.version}, by {backend.engine}: {address}/")
        print(f"TensorFlow Serving's REST: POST {address}/v1/models/{backend.name}:predict")
        print(f"KServe's v2: POST {address}/v2/models/{backend.name}/infer")
        if args.host not in ("127.0.0.1", "localhost", "::1"):
            print("Others can reach it: it has neither passwords nor encryption of its own.")
        print("Ctrl-C or SIGTERM stops it; what was accepted is answered first.", flush=True)

    serve(app, args.host, args.port, started)
    print("stopped")
