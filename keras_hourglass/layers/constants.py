"""Constants of the layers, for Keras and for what does without."""

# Of batch normalisation: Torch's defaults, with which the paper's networks were trained; Keras has
# 1e-3 and 0.99.
EPSILON, MOMENTUM = 1e-5, 0.9
