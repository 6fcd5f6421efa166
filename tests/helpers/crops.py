"""How exactly OpenCV crops."""

import cv2

# Before 5 its positions are rounded to 1/32 pixel, which moves grey levels by up to 8; where two
# places in a map are as high, the other one may then be chosen.
EXACT_CROPS = int(cv2.__version__.split(".")[0]) >= 5
