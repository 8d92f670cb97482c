"""mpremote, unchanged, to a board that is a folder: `mpremote_to_folder.py MICROPYTHON FOLDER ARGUMENT...`.

In the place of the serial port is MicroPython's unix port, which runs in the folder what mpremote sends. A reset does
nothing: the test starts the board's programs. It must change nothing else of mpremote.
"""

import ast
import os
import subprocess
import sys

from mpremote import main as mpremote
from mpremote.transport import Transport, TransportExecError

# On the board: reads a length and so much source, runs it, and answers with its output, and its traceback.
SERVER = r"""
import io, sys
source, scope = sys.stdin.buffer, {"__name__": "__main__"}
while True:
    size = source.readline()
    if not size:
        break
    error = io.StringIO()
    try:
        exec(source.read(int(size)), scope)
    except BaseException as raised:
        sys.print_exception(raised, error)
    sys.stdout.write("\x04" + error.getvalue() + "\x04")
"""


class Folder(Transport):
    """What mpremote needs of a connection."""

    device_name = "a folder"
    mounted = False
    in_raw_repl = True

    def __init__(self, micropython, folder):
        environment = os.environ | {"MICROPYPATH": f":{folder}/lib:.frozen"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([micropython, "-c", SERVER], cwd=folder, env=environment, **pipes)
        self._sent = ""

    def enter_raw_repl(self, soft_reset=True):
        pass

    def exit_raw_repl(self):
        pass

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def exec_raw_no_follow(self, source):
        if b"machine.reset()" not in _bytes(source):
            self._send(source)

    def follow(self, timeout, data_consumer=None):
        return self._read(data_consumer), self._read()

    def exec(self, source, data_consumer=None):
        self._send(source)
        output, error = self.follow(None, data_consumer)
        if error:
            raise TransportExecError(1, error.decode())
        return output

    def eval(self, expression, parse=True):
        output = self.exec(f"print(repr({expression}))")
        return ast.literal_eval(output.decode().strip()) if parse else output

    def _send(self, source):
        data = _bytes(source)
        self._process.stdin.write(b"%d\n%s" % (len(data), data))
        self._process.stdin.flush()

    def _read(self, consumer=None):
        output = bytearray()
        while (byte := self._process.stdout.read(1)) not in (b"\x04", b""):
            output += byte
            if consumer:
                consumer(byte)
        return bytes(output)


def _bytes(source):
    return source if isinstance(source, bytes) else source.encode()


if __name__ == "__main__":
    micropython, folder, *sys.argv[1:] = sys.argv[1:]

    def connect(state, arguments=None):
        state.transport = Folder(micropython, folder)

    mpremote.do_connect = connect
    sys.exit(mpremote.main())
