"""Names of exported models."""

import re

from keras_hourglass.errors import UserError


def check_name(name):
    """A name that can stand in paths and URLs.

    Raises:
        UserError: if it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UserError(
            "A served model's name consists of letters, digits, dots, dashes and underscores. "
            f"Received: {name!r}. Give another with --name."
        )
    return name
