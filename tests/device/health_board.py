"""A device whose new model hangs it: `health_board.py PLACE`, started and killed by host/test_health.py.

PLACE: "first" installs the old models; "install", "load" or "report": where the device hangs with the new ones. Prints
"hangs" and waits for the kill, or what it has at the end, as JSON.
"""

import json
import sys

from device_sdk.port import in_file
from tests.device.test_health import Board


class Hanging(Board):
    def reach(self, what, text=None):
        if (what, text) in self.bad:
            print("hangs")
            if hasattr(sys.stdout, "flush"):
                sys.stdout.flush()
            sys.stdin.readline()


def main(place):
    stores = in_file("agent.state"), in_file("agent.health")
    board = Hanging(stores, place == "first")
    if place != "first":
        board.digest = 1
        board.bad = [(place, None if place == "report" else b"new 1")]
        board.deploy(("kws", b"kws 2"), ("new", b"new 1"), ("vad", None))
        board.run()
    print(json.dumps([board.results, sorted(board.files()), board.files()["kws"].decode()]))


if __name__ == "__main__":
    main(sys.argv[1])
