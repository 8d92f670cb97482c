"""Runs shared test files without pytest: `micropython tests/device/run.py FILE...` from the root of the tree.

Calls every function test_*; exit status 1 where one fails or a file has none. Runs under CPython as well.
"""

import gc
import sys

sys.path.insert(0, ".")


def report(error):
    if hasattr(sys, "print_exception"):  # MicroPython's own way
        sys.print_exception(error)
    else:
        import traceback

        traceback.print_exception(error)


def run(path):
    name = path.replace("\\", "/").rsplit("/", 1)[-1][:-3]
    module = getattr(getattr(__import__("tests.device." + name), "device"), name)
    passed = failed = 0
    for test in sorted(each for each in dir(module) if each.startswith("test_")):
        gc.collect()
        try:
            getattr(module, test)()
            passed += 1
        except Exception as error:
            failed += 1
            print("FAILED", name, test)
            report(error)
    print(name, passed, "passed,", failed, "failed")
    return bool(passed) and not failed


if __name__ == "__main__":
    sys.exit(0 if min([run(path) for path in sys.argv[1:]]) else 1)
