"""One process that compacts without a rest, until it is killed: `python compacting_process.py DATA [URL]`.

It prints a line once it begins.
"""

import sys
import time
from pathlib import Path

from gateway.manager.store import Compaction, Place, Turn, history_compaction, open_store
from tests.support.stores import patient

if __name__ == "__main__":
    history_compaction.INTERVAL = 0.0
    history_compaction.MOST_ROWS = 50
    store = patient(open_store(Place(Path(sys.argv[1]), sys.argv[2] if sys.argv[2:] else None), create=False))
    walk = Compaction(store, Turn(), None)
    sys.stdout.write("compacting\n")
    sys.stdout.flush()
    while True:
        if not walk.step(time.time()):
            time.sleep(0.01)
