"""Fail where a test was skipped. Usage: skipped.py [--for WORD] JUNIT_XML

With everything installed nothing may be missing that a test needs. With --for, only a skip counts whose reason holds
the word, in whatever case. It says nothing where all ran, so pytest's summary stays the last word.
"""

import argparse
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="skipped.py")
    parser.add_argument("--for", dest="word", default="")
    parser.add_argument("report", type=Path)
    options = parser.parse_args(arguments)
    if not options.report.exists():
        sys.stderr.write(f"{options.report}: pytest wrote no report\n")
        return 1
    cases = list(ET.parse(options.report).iter("testcase"))
    skipped = [
        (case, mark)
        for case in cases
        for mark in case.iter("skipped")
        if mark.get("type") != "pytest.xfail" and options.word.lower() in (mark.get("message") or "").lower()
    ]
    for case, mark in skipped:
        sys.stderr.write(f"skipped: {case.get('classname')}::{case.get('name')}: {mark.get('message')}\n")
    if not cases:
        sys.stderr.write(f"{options.report}: no test ran\n")
    return 1 if skipped or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
