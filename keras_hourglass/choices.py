"""Names that a user chooses by, apart from NumPy, so that the command line shows them at once."""

# How a joint is read from its heatmap, see `codec.HeatmapCodec`.
DECODERS = ("max", "quarter", "dark")
# What a joint without annotation trains, see there.
MISSING = ("zero", "ignore")
# The widest Gaussian, in heatmap pixels: it is flat on a map of 64, and a table of many fills the
# memory.
MAX_SIGMA = 100.0
# What becomes of a label that lies far from where a teacher is sure of the joint.
DOUBTFUL = ("keep", "drop", "mend")
# How one number is made of many. The same predictions read differently under each.
MEANS = {
    "counted": "over all counted joints",
    "joints": "over the percentages of the joints",
    "groups": "over the percentages of the groups",
}
# What finds joints where no network is named: of the small ones the best on everyday people.
DEFAULT_MODEL = "hourglass_tiny_people"
