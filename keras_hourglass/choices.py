"""Names that a user chooses by, apart from NumPy, so that the command line shows them at once."""

# How a joint is read from its heatmap, see `codec.HeatmapCodec`.
DECODERS = ("max", "quarter", "dark")
# What a joint without annotation trains, see there.
MISSING = ("zero", "ignore")
# How one number is made of many. The same predictions read differently under each.
MEANS = {
    "counted": "over all counted joints",
    "joints": "over the percentages of the joints",
    "groups": "over the percentages of the groups",
}
# What finds joints where no network is named: the best of the small ones.
DEFAULT_MODEL = "hourglass_small_lsp"
