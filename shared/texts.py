"""What texts of a seat may be: limits and characters, for the hot path and for the models."""

import re

SEAT_ID_BYTES = 256
SEAT_NAME_BYTES = 128
ATTRIBUTES_BYTES = 512  # of the JSON, without spaces
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
