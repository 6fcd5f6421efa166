"""Loading TensorFlow without its remarks on processor and graphics card.

They are printed before its logging is set up, so `TF_CPP_MIN_LOG_LEVEL` does not reach them, and
stand in red between a command's own lines.
"""

import contextlib
import importlib.util
import logging
import os
import sys
import tempfile


class QuietTensorFlow:
    """A finder, for `sys.meta_path`, that loads TensorFlow with the error stream held back.

    What was held back is shown if loading fails.
    """

    @classmethod
    def install(cls):
        """Wait for TensorFlow to be imported; nothing where it already is."""
        # Every callback traces a function of its own once, which is no mistake to warn of.
        logging.getLogger("tensorflow").addFilter(_is_no_retracing)
        if "tensorflow" not in sys.modules and cls not in sys.meta_path:
            sys.meta_path.insert(0, cls)

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                with held_back():
                    load(module)

            spec.loader.exec_module = exec_module
        return spec


def _is_no_retracing(record):
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def held_back():
    """Keep what is written to the error stream in the block, by any library, off the screen.

    If the block fails, it is shown after all.
    """
    try:
        screen = os.dup(2)
    except OSError:  # there is no error stream
        yield
        return
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(screen, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
