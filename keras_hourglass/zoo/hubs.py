"""Presets on the hubs of Hugging Face and Kaggle, fetched by the hubs' own libraries."""

import pathlib
import re
import urllib.parse
from typing import Any

from keras_hourglass.errors import UserError, WeightsError, optional
from keras_hourglass.io.structured import one_line

# What a preset folder holds; the repository's other files stay where they are.
_FILES = ("config.json", "model.weights.h5", "README.md")
_HF = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?/?")
_KAGGLE = re.compile(r"kaggle://([\w.-]+/[\w.-]+/[\w.-]+/[\w.-]+(?:/\d+)?)/?")


def preset_folder(source: Any) -> str | None:
    """The folder of a hub's repository, fetched by the hub's library, which keeps it.

    Args:
        source: `"hf://owner/repository[@revision]"`,
            `"kaggle://owner/model/framework/variation[/version]"`, or anything else.

    Returns:
        The path; `None` for other sources, and for Hugging Face where its library is missing.

    Raises:
        UserError: if the address is none of Kaggle's, or its library is missing.
        WeightsError: if the hub has no such repository, or cannot be reached.

    Example:

    >>> preset_folder("runs/mine") is None
    True
    """
    address = source.partition("#")[0] if isinstance(source, str) else ""
    if match := _HF.fullmatch(address):
        return _from_hugging_face(address, *match.groups())
    if address.startswith("kaggle://"):
        match = _KAGGLE.fullmatch(address)
        if match is None:
            raise UserError(
                "An address at Kaggle reads kaggle://owner/model/framework/variation[/version]. "
                f"Received: {address}. Correct it."
            )
        return _from_kaggle(address, match[1])
    return None


def pinned(source: str) -> str | None:
    """The sha256 of the weights that an address asks for after `#`.

    Example:

    >>> pinned("hf://someone/poses#sha256=12ab")
    '12ab'
    """
    fragment = str(source).partition("#")[2]
    return urllib.parse.parse_qs(fragment).get("sha256", [None])[0]


def _from_hugging_face(address, repository, revision):
    try:
        hub = optional("huggingface_hub")
    except ImportError:
        return None
    fetch = hub.snapshot_download
    return _fetched(
        address, lambda: fetch(repository, revision=revision, allow_patterns=list(_FILES))
    )


def _from_kaggle(address, handle):
    try:
        hub = optional("kagglehub")
    except ImportError as error:
        raise UserError(
            f"Models at Kaggle are fetched by kagglehub, which is not installed ({error}). "
            f"Received: {address}. Run: pip install kagglehub."
        ) from error
    return _fetched(address, lambda: hub.model_download(handle))


def _fetched(address, fetch):
    try:
        return str(pathlib.Path(fetch()))
    # A library of somebody else's raises what it likes.
    except Exception as error:
        raise WeightsError(
            f"The hub must have the preset and be reachable. Received: {address}: "
            f"{one_line(str(error))[:300]}. Check the address and the connection."
        ) from error
