"""The arguments of a network as plain data: defaults, checks, outputs, parameters and work.

Nothing here needs Keras, so the model zoo can be listed and a recipe checked at once.
"""

import copy

from keras_hourglass.choices import MAX_SIGMA
from keras_hourglass.errors import UserError, did_you_mean
from keras_hourglass.io.structured import one_line, shorten
from keras_hourglass.layers.nodes import check_positive
from keras_hourglass.skeletons import get_skeleton
from keras_hourglass.typing import is_number

# name -> (filters of the convolution, residuals before pooling, residuals after pooling);
# None stands for `num_features`.
STEMS = {
    "newell": (64, (128,), (128, None)),
    "bearpaw": (64, (128,), (None, None)),
    "paper": (64, (128,), (128, 128, None)),
}
SUPERVISIONS = ("all", "last", "sum", "inner")
MERGES = ("add", "concat")
LARGEST = 1e6  # of what colours are scaled and shifted by
BRANCHES = ("upper", "lower", "bottom", "after")
# "intermediate supervision applied at the next two highest resolutions before the final one"
INNER_LEVELS = 2
STRIDE = 4

# The most that an argument may be: beyond, a file's typing error takes the machine's memory.
LIMITS = {
    "num_keypoints": 10_000,
    "num_stacks": 64,
    "num_features": 16_384,
    "num_blocks": 64,
    "depth": 10,
}
MAX_EDGE = 16_384  # of the input, in pixels
MAX_INPUT = 4096 * 4096  # pixels of the input: the first map of a small network takes a gigabyte
_MAX_BLOCKS = 10_000  # residuals and convolutions of a network, of which each takes a millisecond

DEFAULTS = {
    "num_keypoints": None,
    "num_stacks": 2,
    "num_features": 256,
    "num_blocks": 1,
    "depth": 4,
    "input_shape": (256, 256, 3),
    "stem": "newell",
    "hourglass": None,
    "heads": None,
    "merge": "add",
    "supervision": "all",
    "skeleton": None,
    "scale": 1 / 255,
    "offset": -0.5,
    "synchronized": False,
    "metadata": None,
}


def complete(arguments):
    """All arguments of a network, checked, as JSON-ready values.

    Args:
        arguments: dict of arguments of `StackedHourglass`; what is left out takes its default.

    Returns:
        A new dict with every key of `DEFAULTS`.

    Raises:
        UserError: if a key is unknown or a value is out of range.

    Example:

    >>> complete({"skeleton": "lsp"})["num_keypoints"]
    14
    """
    unknown = sorted(map(str, set(arguments) - set(DEFAULTS)))
    if unknown:
        raise UserError(
            f"A network has the arguments {', '.join(DEFAULTS)}. Received: "
            f"{one_line(', '.join(unknown))}. Remove or rename these."
            f"{did_you_mean(unknown[0], DEFAULTS)}"
        )
    _check_types(arguments)
    config = copy.deepcopy({**DEFAULTS, **arguments})
    if config["skeleton"] is not None:
        skeleton = get_skeleton(config["skeleton"])
        config["skeleton"] = as_lists(skeleton.to_dict())
        if config["num_keypoints"] not in (None, skeleton.num_joints):
            raise UserError(
                f"The skeleton {skeleton.name!r} has {skeleton.num_joints} joints. Received: "
                f"num_keypoints={_shown(config['num_keypoints'])}. Leave one of the two out."
            )
        config["num_keypoints"] = skeleton.num_joints
    elif config["num_keypoints"] is None:
        config["num_keypoints"] = 16
    config["hourglass"] = dict(config["hourglass"] or {})
    config["metadata"] = dict(config["metadata"] or {})
    config = as_lists(config)
    _check(config)
    return config


def _check_types(arguments):
    """Refuse what has no length, no keys or no value where one is needed."""

    def are_numbers(value):
        return (is_number(value) and abs(value) <= LARGEST) or (
            isinstance(value, (list, tuple))
            and len(value) == 3
            and all(is_number(one) and abs(one) <= LARGEST for one in value)
        )

    def are_scales(value):
        return are_numbers(value) and 0 not in (
            value if isinstance(value, (list, tuple)) else [value]
        )

    def are_widths(value):
        return isinstance(value, int) or (
            isinstance(value, (list, tuple))
            and len(value) > 0
            and all(isinstance(width, int) for width in value)
        )

    def is_hourglass(value):
        return isinstance(value, dict) and all(
            isinstance(v, int) if key == "filters" else are_widths(v) and not isinstance(v, int)
            for key, v in value.items()
            if v
        )

    def is_metadata(value):
        return isinstance(value, dict) and not wrong_metadata(value)

    rules = {
        "scale": (are_scales, "a number other than 0, or one for each colour"),
        "offset": (are_numbers, "a number, or one for each colour"),
        "hourglass": (is_hourglass, "a table of widths"),
        "heads": (
            lambda v: isinstance(v, (list, tuple)) and all(map(are_widths, v)),
            "a list of widths for each stack",
        ),
        "metadata": (is_metadata, "a table, and of tables preprocessing and thresholds of numbers"),
        "synchronized": (lambda value: isinstance(value, bool), "true or false"),
    }
    for name, (meets, kind) in rules.items():
        value = arguments.get(name, DEFAULTS[name])
        if not meets(value) and not (value is None and DEFAULTS[name] is None):
            raise UserError(f"Expected `{name}` to be {kind}. Received: {name}={_shown(value)}")


def wrong_metadata(metadata):
    """What is wrong in a network's `metadata`: a list of texts such as `"sigma='x'"`."""
    parts = {name: metadata.get(name) or {} for name in ("preprocessing", "thresholds", "card")}
    wrong = [f"{name}={_shown(part)}" for name, part in parts.items() if not hasattr(part, "keys")]
    if wrong:
        return wrong
    settings = parts["preprocessing"]
    numbers = {name: settings[name] for name in ("sigma", "padding") if name in settings}
    return [
        f"{shorten(name)}={_shown(value)}"
        for name, value in {**parts["thresholds"], **numbers}.items()
        if isinstance(value, bool)
        or not is_number(value)
        or (name in numbers and not 0 < value <= MAX_SIGMA)
    ]


def _shown(value):
    """A value for messages, texts in quotes."""
    return shorten(repr(value))


def as_lists(value):
    """Tuples as lists at every level, so that a config survives JSON unchanged."""
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return [as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def stack_names(outputs):
    """Those of a model's outputs that hold a stack's heatmaps.

    Args:
        outputs: names of its outputs, in any order.

    Returns:
        A tuple of names, first stack to last.

    Example:

    >>> stack_names(["stack_2", "stack_1_stride_8", "stack_1"])
    ('stack_1', 'stack_2')
    """

    def number(name):
        digits = name.removeprefix("stack_")
        return int(digits) if digits.isdigit() else 0

    return tuple(sorted((name for name in outputs if "stride" not in name), key=number))


def stack_name(outputs, stack=None):
    """The output that holds the heatmaps of one stack.

    Args:
        outputs: names of a model's outputs.
        stack: number of the stack, from 1; the last by default.

    Raises:
        UserError: if there is no such stack.
    """
    names = stack_names(outputs)
    if stack is not None and f"stack_{stack}" not in names:
        raise UserError(
            f"The model has no such stack. Received: stack={stack}. "
            f"Choose one of {', '.join(name.removeprefix('stack_') for name in names)}."
        )
    return names[-1] if stack is None else f"stack_{stack}"


def stem_widths(config):
    """The stem's convolution, residuals before and residuals after pooling."""
    stem = config["stem"]
    first, before, after = STEMS[stem] if isinstance(stem, str) else stem
    return first, list(before), [width or config["num_features"] for width in after]


def head_widths(config, stack):
    """Number of residuals and widths of the 1×1 convolutions of a stack, counted from 1."""
    if config["heads"] is None:
        return config["num_blocks"], [config["num_features"]]
    widths = config["heads"][stack - 1]
    return 0, [widths] if isinstance(widths, int) else list(widths)


def hourglass_widths(config):
    """Filters of the hourglass and the widths of the residuals of its four branches."""
    given = config["hourglass"]
    filters = given.get("filters", config["num_features"])
    default = [filters] * config["num_blocks"]
    return filters, {key: list(given.get(key) or default) for key in BRANCHES}


def inner_strides(config):
    """Input pixels per pixel of the extra heatmaps inside each hourglass, finest first."""
    levels = min(INNER_LEVELS, config["depth"] - 1) if config["supervision"] == "inner" else 0
    return [STRIDE * 2**level for level in range(1, levels + 1)]


def output_strides(config):
    """The outputs of a network: name -> input pixels per heatmap pixel, the final one last.

    Example:

    >>> output_strides(complete({"num_stacks": 1, "supervision": "inner"}))
    {'stack_1_stride_16': 16, 'stack_1_stride_8': 8, 'stack_1': 4}
    """
    stacks = config["num_stacks"]
    if config["supervision"] in ("last", "sum"):
        return {f"stack_{stacks}": STRIDE}
    strides = {}
    for stack in range(1, stacks + 1):
        for stride in reversed(inner_strides(config)):
            strides[f"stack_{stack}_stride_{stride}"] = stride
        strides[f"stack_{stack}"] = STRIDE
    return strides


def check_input_size(input_shape, depth=4):
    """Refuse an input whose height or width the network cannot halve often enough.

    Args:
        input_shape: `(height, width, channels)` in input pixels.
        depth: levels of the hourglasses.

    Raises:
        UserError: with the multiple that is needed and the nearest sizes that fit.
    """
    shape = tuple(input_shape) if isinstance(input_shape, (list, tuple)) else (input_shape,)
    if len(shape) == 3 and any(isinstance(edge, int) and edge > MAX_EDGE for edge in shape):
        raise UserError(
            f"Inputs have at most {MAX_EDGE:,} pixels each way. Received: {shorten(shape)}. "
            "Pass a smaller `input_shape`, e.g. (256, 256, 3)."
        )
    if len(shape) == 3 and all(isinstance(edge, int) for edge in shape):
        if (pixels := shape[0] * shape[1]) > MAX_INPUT:
            raise UserError(
                f"Inputs have at most {MAX_INPUT:,} pixels in all. Received: {pixels:,} by "
                f"{shorten(shape)}. Pass a smaller `input_shape`, e.g. (256, 256, 3)."
            )
    if len(shape) != 3 or any(
        isinstance(edge, bool) or not isinstance(edge, int) for edge in shape
    ):
        raise UserError(
            f"`input_shape` is (height, width, channels) in pixels. Received: {shorten(shape)}. "
            "Pass three integers, e.g. (256, 256, 3)."
        )
    multiple = STRIDE * 2**depth
    if any(edge <= 0 or edge % multiple for edge in shape[:2]):
        nearest = []
        for edge in shape[:2]:
            below = max(edge, 0) // multiple * multiple
            sizes = [below] if below == edge else [below, below + multiple]
            nearest.append(" or ".join(str(size) for size in sizes if size))
        raise UserError(
            f"Height and width must be multiples of {multiple} (stride {STRIDE}, depth {depth}). "
            f"Received: {shape[0]}×{shape[1]}. Nearest heights that fit: {nearest[0]}; "
            f"widths: {nearest[1]}."
        )


def _check(config):
    """Refuse impossible arguments before Keras meets them."""
    for name in ("num_keypoints", "num_stacks", "num_features", "num_blocks", "depth"):
        check_positive(name, config[name])
        if config[name] > LIMITS[name]:
            raise UserError(
                f"Expected `{name}` to be at most {LIMITS[name]:,}. "
                f"Received: {name}={config[name]:.6g}"
            )
    for name, choices in (("supervision", SUPERVISIONS), ("merge", MERGES)):
        if config[name] not in choices:
            raise UserError(
                f"Expected `{name}` to be one of {choices}. Received: "
                f"{name}={_shown(config[name])}.{did_you_mean(config[name], choices)}"
            )
    _check_stem(config["stem"])
    unknown = sorted(map(str, set(config["hourglass"]) - {"filters", *BRANCHES}))
    if unknown:
        raise UserError(
            f"`hourglass` has the keys filters, {', '.join(BRANCHES)}. "
            f"Received: {', '.join(unknown)}. Remove or rename these."
            f"{did_you_mean(unknown[0], ('filters', *BRANCHES))}"
        )
    heads = config["heads"]
    if heads is not None and (not isinstance(heads, list) or len(heads) != config["num_stacks"]):
        raise UserError(
            f"`heads` lists the widths of each of the {config['num_stacks']} stacks. "
            f"Received: heads={_shown(heads)}. Give one tuple per stack."
        )
    filters, branches = hourglass_widths(config)
    blocks = _count_blocks(config, branches)
    if blocks > _MAX_BLOCKS:
        raise UserError(
            f"A network has at most {_MAX_BLOCKS:,} blocks. Received: {blocks:,} by num_stacks, "
            "depth, num_blocks and the lists of hourglass, heads and stem. Make these smaller."
        )
    for key in ("upper", "bottom", "after"):
        if branches[key][-1] != filters:
            raise UserError(
                f"The branch `{key}` of an hourglass must end in {filters} filters, to be added. "
                f"Received: {key}={branches[key]}. Change its last width."
            )
    residuals = [filters, config["num_features"], *(w for row in branches.values() for w in row)]
    residuals += [width for part in stem_widths(config)[1:] for width in part]
    heads = [head_widths(config, stack)[1] for stack in range(1, config["num_stacks"] + 1)]
    for width in (*residuals, stem_widths(config)[0], *(w for row in heads for w in row)):
        if isinstance(width, int) and width > LIMITS["num_features"]:
            raise UserError(
                f"Layers have at most {LIMITS['num_features']:,} features. Received: "
                f"{_shown(width)}. Use a smaller width."
            )
    for width in (width for row in heads for width in row):
        check_positive("heads", width)
    for width in residuals:
        if isinstance(width, bool) or not isinstance(width, int) or width < 2 or width % 2:
            raise UserError(
                "Widths of residuals, `num_features` among them, must be positive and even, since "
                f"residuals halve them inside. Received: {_shown(width)}. Use the next even number."
            )
    if config["supervision"] == "inner" and config["depth"] < 2:
        raise UserError(
            "Supervision inside the hourglass needs a lower resolution on the way up. "
            f"Received: supervision='inner', depth={config['depth']}. Use a depth of 2 or more."
        )
    check_input_size(config["input_shape"], config["depth"])


def _count_blocks(config, branches):
    """Residuals and convolutions of all stacks, stem included."""
    levels = sum(len(branches[key]) for key in ("upper", "lower", "after"))
    stacks = range(1, config["num_stacks"] + 1)
    heads = sum(count + len(widths) for count, widths in
                (head_widths(config, stack) for stack in stacks))  # fmt: skip
    stem = sum(map(len, stem_widths(config)[1:]))
    return len(stacks) * (config["depth"] * levels + len(branches["bottom"])) + heads + stem


def _check_stem(stem):
    named = isinstance(stem, str)
    if named and stem in STEMS:
        return
    parts = None if named or not isinstance(stem, list) or len(stem) != 3 else stem
    if parts is None or not isinstance(parts[1], list) or not isinstance(parts[2], list):
        raise UserError(
            f"Unknown stem. Received: stem={_shown(stem)}. Choose one of {tuple(STEMS)} or "
            "pass widths (convolution, (before pooling, ...), (after pooling, ...))."
            f"{did_you_mean(stem, STEMS) if named else ''}"
        )
    check_positive("stem[0]", parts[0])
