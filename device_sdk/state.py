"""What must outlive power, in one small file: the old content or the new one, never a mixture.

The file holds the crc32 of what follows and one JSON text. It is written beside the old one and renamed over it. Must
not know what the values mean.
"""

import json
import os
from binascii import crc32


def dumps(value):
    """The value (None, ints, str, and lists of these) as a str that `loads` trusts."""
    text = json.dumps(value)
    return str(crc32(text.encode())) + " " + text


def loads(text):
    """What was dumped; ValueError where that is not whole."""
    crc, text = text.split(" ", 1)
    if int(crc) != crc32(text.encode()):
        raise ValueError("damaged")
    return json.loads(text)


class FileStore:
    """Keeps one value in the file `path`; `path` + ".new" is its scratch."""

    def __init__(self, path):
        self.path = path

    def load(self):
        """The value that was saved last, or None where there is none that is whole."""
        try:
            with open(self.path) as file:
                return loads(file.read())
        except (OSError, ValueError):
            return None

    def save(self, value):
        """Returns when the value is safe. OSError where the file system refuses; the old value is still there then."""
        with open(self.path + ".new", "w") as file:
            file.write(dumps(value))
        os.rename(self.path + ".new", self.path)
