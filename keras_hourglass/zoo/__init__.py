"""The model zoo: presets, trained weights, other people's checkpoints."""
