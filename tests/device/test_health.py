"""Health: what a model that crashes its device leaves, start by start. A crash here is an exception of its own kind."""

from device_sdk.agent import Agent, unpack
from device_sdk.health import Health
from device_sdk.heartbeat import Packer
from tests.device.support import LAYOUT, NOW, Memory, packed, raises
from tests.device.test_files import FOLDER, clean, content, exists, plan_bytes, sha1


class Crash(BaseException):
    """Ends a start of the device wherever it is."""


class Board:
    """A device that loses everything but its files and stores at each start; its gateway never does."""

    def __init__(self, stores=None, fresh=True):
        self.stores = stores or (Memory(), Memory())
        self.bad = ()  # what crashes the device: a content in "install", or in "load" at the start; or a "report"
        self.acks = True
        self.results = []
        self.digest = 0
        if fresh:
            clean()
            self.deploy(("kws", b"kws 1"), ("vad", b"vad 1"))
            self.run()
            self.results.clear()

    def deploy(self, *models, policy=0):
        self.digest += 1
        self.texts = [text for _, text in models]
        definitions = [[handle, 0] if text is None else [handle, 1, sha1(text).digest()] for handle, text in models]
        self.plan = plan_bytes([self.digest, [["d%d" % self.digest, policy, definitions]]])

    def install(self, definition):
        self.reach("install", content(definition.path))

    def reach(self, what, text=None):
        if (what, text) in self.bad:
            raise Crash

    def start(self, woke=False):
        """A start without a connection."""
        self.agent = Agent(LAYOUT, self.install, lambda definition: None, store=self.stores[0], files=FOLDER)
        self.health = Health(self.agent, self.stores[1])
        self.agent.start(0, NOW, 1, woke)
        for handle in ("kws", "vad", "new"):
            if exists(FOLDER + handle):
                self.reach("load", content(FOLDER + handle))

    def run(self, woke=False):
        """A start that goes on until nothing is to be done. Whether it did not crash."""
        try:
            self.start(woke)
            self.carry_out()
        except Crash:
            return False
        return True

    def carry_out(self):
        agent = self.agent
        p = Packer(512, 0)
        agent.receive("plan", self.plan)
        for now in range(100):
            while agent.work(lambda now=now: now):
                pass
            if agent.file:
                p.pos = 0
                if agent.file.poll(p, now):
                    digest, index, offset, length, _ = unpack(p.buf[: p.pos])
                    data = self.texts[index]
                    block = b"\x95" + packed(digest) + packed(index) + packed(offset) + packed(len(data)) + b"\xc4"
                    data = data[offset : offset + length]
                    agent.receive("block", block + bytes((len(data),)) + data)
            elif agent.result:
                self.reach("report")
                if self.acks:
                    self.results.append((agent.result[1], agent.result[2], [list(row[3:7]) for row in agent.result[5]]))
                    agent.ack([agent.seq, 0, NOW])
        assert not agent.bad

    def files(self):
        names = [handle + end for end in ("", ".new", ".old") for handle in ("kws", "vad", "new")]
        return {each: content(FOLDER + each) for each in names if exists(FOLDER + each)}


OLD = {"kws": b"kws 1", "vad": b"vad 1"}
REASON = "no heartbeat was confirmed in 3 starts"
FAILED = ("FAIL", REASON, [[1, 1, 0, REASON], [1, 0, 0, REASON], [0, 1, 0, REASON]])


def test_a_model_that_crashes_in_install_is_given_up_after_so_many_starts():
    board = Board()
    board.bad = [("install", b"new 1")]
    board.deploy(("kws", b"kws 2"), ("new", b"new 1"), ("vad", None))
    assert [board.run() for _ in range(4)] == [False, False, False, True]
    assert board.files() == OLD
    assert board.results == [FAILED]
    assert [board.run() for _ in range(5)] == [True] * 5
    assert board.results == [FAILED]
    clean()


def test_a_model_that_crashes_when_it_is_loaded_is_given_up_and_the_old_ones_come_back():
    board = Board()
    board.bad = [("report", None), ("load", b"new 1")]
    board.deploy(("kws", b"kws 2"), ("new", b"new 1"), ("vad", None))
    assert not board.run()
    assert board.files() == {
        "kws": b"kws 2", "new": b"new 1", "kws.old": b"kws 1", "vad.old": b"vad 1",
    }  # fmt: skip
    board.bad = board.bad[1:]
    assert [board.run() for _ in range(3)] == [False, False, True]
    assert board.files() == OLD
    assert board.results == [FAILED]
    clean()


def test_a_deployment_whose_result_is_confirmed_stays():
    board = Board()
    board.deploy(("kws", b"kws 2"), ("new", b"new 1"), ("vad", None))
    assert board.run()
    assert board.health.trial is None
    assert board.files() == {"kws": b"kws 2", "new": b"new 1"}
    board.bad = [("load", b"kws 2")]
    assert [board.run() for _ in range(9)] == [False] * 9
    assert board.files() == {"kws": b"kws 2", "new": b"new 1"}
    clean()


def test_an_ack_in_the_last_start_is_early_enough():
    board = Board()
    board.acks = False
    board.deploy(("kws", b"kws 2"))
    assert [board.run() for _ in range(3)] == [True] * 3
    board.acks = True
    board.agent.ack([board.agent.seq, 0, NOW])
    assert board.files() == {"kws": b"kws 2", "vad": b"vad 1"}
    assert board.run()
    assert board.files() == {"kws": b"kws 2", "vad": b"vad 1"}
    assert board.results == []
    clean()


def test_a_wake_from_deep_sleep_is_no_failed_start():
    board = Board()
    board.acks = False
    board.deploy(("kws", b"kws 2"))
    board.run()
    for _ in range(9):
        board.run(woke=True)
    assert board.files() == {"kws": b"kws 2", "kws.old": b"kws 1", "vad": b"vad 1"}
    board.run()
    board.run()
    board.run()
    assert board.files() == OLD
    clean()


def test_a_failure_that_the_device_lives_with_ends_the_trial():
    board = Board()
    board.deploy(("kws", b"kws 2"), ("../x", b""))
    assert board.run()
    assert board.results == [("FAIL", "../x: handle", [[1, 1, 0, "undone"], [1, 0, 0, "handle"]])]
    assert board.health.trial is None
    assert board.files() == OLD
    clean()


def test_a_cut_while_the_old_models_come_back_changes_nothing():
    """Each file operation of the failing start is the last one before a cut once."""
    for cut in range(20):
        board = Board()
        board.bad = [("report", None), ("load", b"new 1")]
        board.deploy(("kws", b"kws 2"), ("new", b"new 1"), ("vad", None))
        board.run()
        board.bad = board.bad[1:]
        assert [board.run() for _ in range(2)] == [False] * 2
        cuts = Cutting(cut)
        store = board.stores[0]
        board.stores = cuts.store(board.stores[0]), cuts.store(board.stores[1])
        done = board.run()
        board.stores = board.stores[0].store, board.stores[1].store
        assert board.stores[0] is store
        assert board.run()
        assert board.files() == OLD
        assert board.results[-1] == FAILED
        if done:
            break
    assert done
    clean()


class Cutting:
    """Power that fails at the `left`-th access to a store."""

    def __init__(self, left):
        self.left = left

    def store(self, store):
        def cut(text=None):
            self.left -= 1
            if self.left < 0:
                raise Crash
            return store(text)

        return Held(cut, store)


class Held:
    def __init__(self, call, store):
        self.call = call
        self.store = store

    def __call__(self, text=None):
        return self.call(text)


def test_what_is_no_trial_is_none():
    for text in (
        "",
        "5",
        '"abcd"',
        "null",
        "[]",
        "{}",
        "[1, 2, 3, 4]",
        "[1, 2, 3, 4, 5, 6, 7, null, 9]",
        "\0\0",
        b"\xff",
        7,
    ):
        board = Board()
        board.stores = board.stores[0], lambda new=None, text=text: text
        for _ in range(4):
            assert board.run()
        assert board.results == []
        assert board.files() == OLD
    clean()


def test_it_needs_files_and_callbacks():
    raises(ValueError, Health, Agent(LAYOUT, raises, raises), Memory())
    raises(ValueError, Health, Agent(LAYOUT, files=FOLDER), Memory())


def test_other_agents_of_the_process_are_as_before():
    clean()
    agent = Agent(LAYOUT, id, id, files=FOLDER)
    agent.start(0, NOW, 1, False)
    with open(FOLDER + "kws", "wb") as file:
        file.write(b"1")
    agent.receive("plan", plan_bytes([1, [["d", 0, [["kws", 0]]]]]))
    agent.work(lambda: 0)
    assert agent.result[1] == "SUCCESS"
    assert not exists(FOLDER + "kws")
    assert not exists(FOLDER + "kws.old")
