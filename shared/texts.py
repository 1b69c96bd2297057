"""Rules for texts: their sizes, the characters that they may have, and how they are shown."""

import re
import unicodedata

SEAT_ID_BYTES = 256
SEAT_NAME_BYTES = 128
REASON_BYTES = 500
# A month, or a quarter.
PERIOD = r"^20[0-9]{2}-(0[1-9]|1[0-2]|Q[1-4])$"
# The same, or an ISO week.
REPORT_PERIOD = r"^20[0-9]{2}-(0[1-9]|1[0-2]|Q[1-4]|W(0[1-9]|[1-4][0-9]|5[0-3]))$"
# The key of a usage limit.
USAGE_KEY = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# The vendor's own id of an entitlement: safe in a path.
EXTERNAL_ID = r"^[A-Za-z0-9._:@-]{1,100}$"
# The vendor's own notes on an entitlement.
METADATA_MEMBERS = 20
METADATA_NAME = r"^[A-Za-z0-9._:-]{1,40}$"
METADATA_VALUE = 500
ATTRIBUTES_BYTES = 512  # of the JSON, without spaces
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Explicit directional formatting (Unicode Standard Annex 9), which can turn around what follows it.
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Invisible characters: two ids that look the same may differ in them.
# Unicode's default-ignorable code points, without joiners and variation selectors, and the blank of
# Braille, which is as empty as they are.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS = "\u200c\u200d"  # some scripts and emoji need them between other characters


def counted(number: int, one: str, many: str) -> str:
    """A number and what it counts, such as `1 person`, `2,000 people`."""
    return f"{number:,} {one if number == 1 else many}"


def isolated(text: str) -> str:
    """Somebody else's name within our text: its direction of writing ends with it."""
    if text.isascii():
        return text
    text = TURNING.sub("", text)
    if any(unicodedata.bidirectional(each) in ("R", "AL") for each in text):
        return f"\u2068{text}\u2069"
    return text


def folded(text: str) -> str:
    """A text as it is searched: without case, accents, and other forms of the same characters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(each for each in plain if not unicodedata.combining(each))


def wrong_id(text: str) -> str:
    """What is wrong with a seat's id that nobody can see; empty if nothing is."""
    if text.isascii() and text == text.strip():
        return ""
    if text != text.strip() or text != text.strip(_JOINERS):
        return "must not begin or end with white space or an invisible character"
    if _INVISIBLE.search(text):
        return "must not hold invisible characters, such as a zero-width space or a direction mark"
    if not unicodedata.is_normalized("NFC", text):
        return "must be in Unicode normalization form NFC"
    return ""
