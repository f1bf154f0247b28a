"""Times of the administration: to the second, and with the zone that they are in."""

DATETIME_FORMAT = r"j M Y, H:i:s \U\T\C"
