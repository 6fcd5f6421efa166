"""The model zoo as rows of data."""

_TORCH_INPUT = {"scale": 1 / 255, "offset": -0.5}
_PAPER = {
    "stem": "paper",
    "hourglass": {
        "filters": 512,
        "upper": [256, 256, 512],
        "lower": [256, 256, 256],
        "bottom": [512],
        "after": [512],
    },
    **_TORCH_INPUT,
}
_SMALL = {"input_shape": [128, 128, 3], "stem": [16, [32], [32, None]], "skeleton": "lsp"}

# name -> one line, and the arguments of `StackedHourglass` that differ from its defaults.
PRESETS = {
    "hourglass_2s_paper": {
        "description": "the paper's own network: three residuals per position, doubled features",
        "architecture": {
            **_PAPER,
            "num_stacks": 2,
            "heads": [[512, 256], [512, 512]],
            "merge": "concat",
            "skeleton": "mpii",
        },
    },
    "hourglass_1s_paper_flic": {
        "description": "half of the paper's network, as used on FLIC",
        "architecture": {
            **_PAPER,
            "num_stacks": 1,
            "heads": [[512, 512]],
            "skeleton": "flic",
        },
    },
    **{
        f"hourglass_{stacks}s": {
            "description": f"later release, {stacks} × 256 features",
            "architecture": {"num_stacks": stacks, "stem": "newell", "skeleton": "mpii"},
        }
        for stacks in (1, 2, 4, 8)
    },
    **{
        f"hourglass_{stacks}s_bearpaw": {
            "description": f"later release, {stacks} × 256 features, wider stem",
            "architecture": {"num_stacks": stacks, "stem": "bearpaw", "skeleton": "mpii"},
        }
        for stacks in (1, 2, 4, 8)
    },
    "ablation_hg": {
        "description": "Figure 8, HG: one hourglass with doubled residuals",
        "architecture": {"num_stacks": 1, "num_blocks": 2, "skeleton": "mpii"},
    },
    "ablation_hg_int": {
        "description": "Figure 8, HG-Int: supervised at lower resolutions on the way up",
        "architecture": {
            "num_stacks": 1,
            "num_blocks": 2,
            "supervision": "inner",
            "skeleton": "mpii",
        },
    },
    "ablation_hg_stacked": {
        "description": "Figure 8, HG-Stacked: two stacks, the last supervised",
        "architecture": {"num_stacks": 2, "supervision": "last", "skeleton": "mpii"},
    },
    "ablation_hg_stacked_int": {
        "description": "Figure 8, HG-Stacked-Int: two stacks, both supervised",
        "architecture": {"num_stacks": 2, "supervision": "all", "skeleton": "mpii"},
    },
    "ablation_hg_stacked_add": {
        "description": "Figure 8, HG-Stacked-Add: heatmaps added under a single loss",
        "architecture": {"num_stacks": 2, "supervision": "sum", "skeleton": "mpii"},
    },
    "hourglass_detector": {
        "description": "finds people: a map of centres and of the sizes beside it",
        "architecture": {
            **_SMALL,
            "input_shape": [256, 256, 3],
            "num_stacks": 1,
            "num_features": 64,
            "skeleton": "boxes",
        },
    },
    "hourglass_tiny": {
        "description": "for phones and browsers",
        "architecture": {**_SMALL, "num_stacks": 2, "num_features": 64},
    },
    "hourglass_small": {
        "description": "for two processor cores",
        "architecture": {
            **_SMALL,
            "num_stacks": 2,
            "num_features": 64,
            "input_shape": [192, 192, 3],
        },
    },
}
