"""`keras-hourglass demo-page`: a local web page to try models on photographs."""


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
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(args):
    """Serve the page until Ctrl-C."""
    from keras_hourglass.cli.demo_gradio import build_page
    from keras_hourglass.errors import UserError
    from keras_hourglass.zoo.store import list_presets

    models = args.model or [preset["name"] for preset in list_presets() if preset.get("weights")]
    page, options = build_page(models)
    try:
        page.launch(
            server_name=args.host, server_port=args.port, inbrowser=args.open, share=False,
            **options,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"The page cannot be served ({error}). Choose another --port.") from error
    return 0
