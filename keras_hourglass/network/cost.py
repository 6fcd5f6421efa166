"""Parameters and multiplications of a network, worked out from its arguments.

The counts follow the layers one by one; tests compare them with the built model and with
TensorFlow's own count of its graph.
"""

from keras_hourglass.network.config import (
    head_widths,
    hourglass_widths,
    inner_strides,
    stem_widths,
)


class Cost:
    """A running count while layers are gone through in order.

    Attributes:
        trainable: trainable parameters.
        fixed: moving statistics of batch normalisation.
        multiplications: multiply-adds of convolutions for one image.
    """

    def __init__(self):
        self.trainable = self.fixed = self.multiplications = 0

    @property
    def gflops(self):
        """Floating-point operations of one image, 10⁹; a multiply-add counts as two."""
        return 2 * self.multiplications / 1e9

    def conv(self, pixels, source, width, kernel=1):
        """A convolution with bias, on `pixels` output positions."""
        self.trainable += kernel * kernel * source * width + width
        self.multiplications += pixels * kernel * kernel * source * width
        return width

    def norm(self, width):
        """A batch normalisation."""
        self.trainable += 2 * width
        self.fixed += 2 * width

    def residuals(self, pixels, source, widths):
        """A chain of residuals; returns the channels that leave it."""
        for width in widths:
            half = width // 2
            for inside in (source, half, half):
                self.norm(inside)
            self.conv(pixels, source, half)
            self.conv(pixels, half, half, kernel=3)
            self.conv(pixels, half, width)
            if source != width:
                self.conv(pixels, source, width)
            source = width
        return source

    def hourglass(self, pixels, source, widths, depth):
        """An hourglass on `pixels` positions, its inner levels included."""
        self.residuals(pixels, source, widths["upper"])
        pixels //= 4
        inside = self.residuals(pixels, source, widths["lower"])
        if depth > 1:
            inside = self.hourglass(pixels, inside, widths, depth - 1)
        else:
            inside = self.residuals(pixels, inside, widths["bottom"])
        return self.residuals(pixels, inside, widths["after"])

    def head(self, pixels, source, num_blocks, widths, num_keypoints, merge=None, skip=None):
        """Heatmaps from features, and their way back; returns the channels that go on."""
        self.residuals(pixels, source, [source] * num_blocks)
        for width in widths:
            source = self.conv(pixels, source, width)
            self.norm(width)
        if num_keypoints:
            self.conv(pixels, source, num_keypoints)
        if merge is None:
            return None
        source, merged = (source + skip,) * 2 if merge == "concat" else (source, skip)
        if num_keypoints:
            self.conv(pixels, num_keypoints, merged)
        return self.conv(pixels, source, merged)


def cost_of(config):
    """The cost of a network.

    Args:
        config: complete arguments, see `architecture.complete`, or a model's `get_config()`.

    Returns:
        A `Cost`.

    Example:

    >>> from keras_hourglass.network.config import complete
    >>> cost_of(complete({"stem": "bearpaw", "num_stacks": 2})).trainable
    6730912
    """
    cost = Cost()
    height, width, channels = config["input_shape"]
    half, pixels = height * width // 4, height * width // 16
    first, before, after = stem_widths(config)
    source = cost.conv(half, channels, first, kernel=7)
    cost.norm(source)
    pooled = cost.residuals(half, source, before)
    source = cost.residuals(pixels, pooled, after)
    filters, widths = hourglass_widths(config)
    for stack in range(1, config["num_stacks"] + 1):
        cost.hourglass(pixels, source, widths, config["depth"])
        for stride in inner_strides(config):
            inside = height * width // stride**2
            cost.head(inside, filters, 0, [filters], config["num_keypoints"])
        last = stack == config["num_stacks"]
        predicts = last or config["supervision"] != "last"
        skip = pooled if config["merge"] == "concat" else source
        source = cost.head(
            pixels,
            filters,
            *head_widths(config, stack),
            config["num_keypoints"] if predicts else None,
            None if last else config["merge"],
            skip,
        )
    return cost
