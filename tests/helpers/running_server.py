"""`keras-hourglass serve` in a thread of the test."""

import contextlib
import queue
import threading

from keras_hourglass.serving import create_app, serve


@contextlib.contextmanager
def running(model, **options):
    """Serve a model on a free port; yields its address and the application."""
    app = create_app(model, **options)
    addresses: queue.Queue = queue.Queue()
    thread = threading.Thread(target=serve, args=(app, "127.0.0.1", 0, addresses.put))
    thread.start()
    try:
        yield addresses.get(timeout=60), app
    finally:
        app.state.stop()
        thread.join()
