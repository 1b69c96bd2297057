"""What texts may be: limits and characters, for the hot path and for the models."""

import re

SEAT_ID_BYTES = 256
SEAT_NAME_BYTES = 128
REASON_BYTES = 500
# The key of a usage limit.
USAGE_KEY = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ATTRIBUTES_BYTES = 512  # of the JSON, without spaces
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
