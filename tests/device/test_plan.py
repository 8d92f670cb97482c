"""Plans: vectors, both failure handling policies, and what a later plan or a power cut changes."""

import sys

from device_sdk.agent import Agent
from device_sdk.heartbeat import Packer
from device_sdk.plan import Plan
from tests.device.support import Memory, packed, payload, raises, read, vectors, written


def agent_of(install, remove=None, **more):
    agent = Agent(["1.0.0", [], []], install or print, remove, **more)
    agent.start(0, 0, 1, False)
    return agent


def give(agent, plan):
    """Raises what the agent would only count."""
    agent.plan = Plan(agent, plan)


def decode(data):
    agent = agent_of(None)
    give(agent, read(data))
    return agent.digest, [[name, policy, steps] for _, name, policy, steps in agent.plan.items]


def carry_out(deployment, install, remove):
    """(status, message, rows) of one deployment [name, policy, definitions, type]."""
    agent = agent_of(install, remove)
    give(agent, [7, [deployment]])
    agent.work(lambda: 0)
    return agent.result[1], agent.result[2], [trimmed(row) for row in agent.result[5]]


def trimmed(row):
    row = list(row)
    while row[-1] is None:
        row.pop()
    return row


class Models:
    """The user's callbacks over a set of installed handles; `broken` are those that fail, by verb."""

    def __init__(self, installed=(), broken=()):
        self.installed = list(installed)
        self.broken = broken
        self.calls = []

    def _call(self, verb, handle):
        self.calls.append(verb + handle)
        if verb + handle in self.broken:
            raise OSError("no " + verb + handle)

    def install(self, definition):
        self._call("+", definition.handle)
        self.installed.append(definition.handle)

    def remove(self, definition):
        self._call("-", definition.handle)
        self.installed.remove(definition.handle)


def perform(models, policy, *definitions):
    deployment = ["d", policy, [list(each) for each in definitions]]
    return carry_out(deployment, models.install, models.remove)


def test_every_plan_of_the_vectors_is_read():
    for vector in vectors("messages"):
        if vector["channel"] == "plan":
            digest, deployments = decode(payload(vector))
            assert digest == vector["value"][0]
            assert [each[0] for each in deployments] == [each[0] for each in vector["value"][1]], vector["name"]


def test_every_plan_of_the_digests_is_read():
    for vector in vectors("digests"):
        for name in ("plan", "plan_without_urls"):
            digest, deployments = decode(payload({"hex": vector[name]}))
            assert digest == vector["digest"]
            assert len(deployments) == len(vector["answer"]["Deployments"])


def test_malformed_plans_are_refused():
    for vector in vectors("malformed"):
        if vector["channel"] == "plan":
            raises((ValueError, TypeError, IndexError), decode, payload(vector))


def test_a_definition_has_what_the_plan_says():
    seen = []
    carry_out(["d", 0, [["kws", 1, "abc", 25, "s3://m/k", "MD5"], ["vad", 1]]], seen.append, None)
    first, second = seen
    assert (first.handle, first.state, first.checksum, first.size, first.url, first.checksum_type) == (
        "kws", 1, "abc", 25, "s3://m/k", "MD5")  # fmt: skip
    assert second.handle == "vad"
    assert (second.checksum, second.size, second.url, second.checksum_type) == (None, None, None, None)


def test_success_is_reported_of_every_model():
    models = Models(["old"])
    assert perform(models, 0, ["new", 1], ["old", 0]) == (
        "SUCCESS", None, [["new", None, None, 1, 1, 1], ["old", None, None, 0, 0, 1]])  # fmt: skip
    assert models.installed == ["new"]


def test_rollback_undoes_what_was_done_the_last_first():
    models = Models(["old"], ["+c"])
    status, message, rows = perform(models, 0, ["a", 1], ["old", 0], ["c", 1], ["d", 1])
    assert (status, message) == ("FAIL", "c: no +c")
    assert models.calls == ["+a", "-old", "+c", "+old", "-a"]
    assert models.installed == ["old"]
    assert rows == [
        ["a", None, None, 1, 0, 0, "undone"],
        ["old", None, None, 0, 1, 0, "undone"],
        ["c", None, None, 1, 0, 0, "no +c"],
        ["d", None, None, 1, 0, 0, "skipped"],
    ]


def test_a_rollback_that_fails_says_so_and_the_others_go_on():
    models = Models(broken=["+c", "-b"])
    _, _, rows = perform(models, 0, ["a", 1], ["b", 1], ["c", 1])
    assert models.installed == ["b"]
    assert rows[0] == ["a", None, None, 1, 0, 0, "undone"]
    assert rows[1] == ["b", None, None, 1, 1, 0, "undone", "no -b"]


def test_do_nothing_leaves_what_was_done_and_goes_on():
    models = Models(broken=["+b"])
    status, message, rows = perform(models, 1, ["a", 1], ["b", 1], ["c", 1])
    assert (status, message) == ("FAIL", "b: no +b")
    assert models.installed == ["a", "c"]
    assert [row[4:6] for row in rows] == [[1, 1], [0, 0], [1, 1]]


def test_what_this_version_does_not_know_fails_and_is_reported():
    models = Models()
    for state in ("PAUSE", -1, 2, None, [], b"1"):
        (row,) = perform(models, 0, ["a", state])[2]
        assert (row[3], row[5]) == (state, 0), row
        assert row[4] in (0, 1), row  # nothing was done: it is what it was
        assert row[6]
    assert carry_out(["d", 0, [["a", 1]], "Container"], models.install, models.remove)[:2] == (
        "FAIL",
        "a: unknown type",
    )
    assert models.calls == []


def test_the_callback_may_name_the_model():
    def install(definition):
        definition.name = "keyword-spotting"
        definition.version = "1.1"

    assert carry_out(["d", 0, [["kws", 1]]], install, None)[2] == [["kws", "keyword-spotting", "1.1", 1, 1, 1]]


def test_reasons_are_bounded():
    def install(definition):
        raise ValueError("x" * 1000)

    _, message, rows = carry_out(["d", 0, [["kws", 1]]], install, None)
    assert message == "kws: " + rows[0][6]
    assert len(rows[0][6]) == 120


def plan(digest, *names):
    return [digest, [[name, 0, [[name, 1]]] for name in names]]


def work(plans):
    """The names of the deployments that were carried out, each result acked at once."""
    names = []
    while plans.work(lambda: 50):
        if plans.result:
            names.append(plans.result[0])
            plans.result = None
    return names


def test_a_plan_is_carried_out_once():
    models = Models()
    plans = agent_of(models.install, models.remove)
    give(plans, plan(7, "a", "b"))
    assert plans.have == 0
    assert work(plans) == ["a", "b"]
    assert (plans.have, models.calls) == (7, ["+a", "+b"])
    give(plans, plan(7, "a", "b"))
    assert work(plans) == []


def test_a_deployment_that_is_in_the_next_plan_too_is_not_repeated():
    models = Models()
    plans = agent_of(models.install, models.remove)
    give(plans, plan(7, "a", "b"))
    work(plans)
    sized = [8, [["b", 0, [["b", 1, None, 25, "s3://m/b"]]], ["c", 0, [["c", 1]]]]]  # its size has become known
    give(plans, sized)
    assert work(plans) == ["c"]
    assert (plans.have, models.calls) == (8, ["+a", "+b", "+c"])
    give(plans, [9, []])
    assert work(plans) == []
    assert plans.have == 9


def test_a_cut_between_two_deployments_repeats_only_what_was_not_saved():
    models = Models()
    store = Memory()
    plans = agent_of(models.install, models.remove, store=store)
    give(plans, plan(7, "a", "b"))
    plans.work(lambda: 50)
    again = Agent(["1.0.0", [], []], models.install, models.remove, store=store)
    again.start(0, None, 1, False)
    assert again.result[3:5] == [None, None]  # its times were of another boot
    give(again, plan(7, "a", "b"))
    assert not again.work(lambda: 50)
    again.result = None
    assert work(again) == ["b"]
    assert (again.have, models.calls) == (7, ["+a", "+b"])


def test_a_plan_that_is_taken_back_half_way_is_carried_out_again():
    models = Models()
    plans = agent_of(models.install, models.remove)
    give(plans, plan(7, "a"))
    assert work(plans) == ["a"]
    give(plans, plan(8, "b", "c"))
    assert plans.work(lambda: 50)
    give(plans, plan(7, "a"))
    plans.result = None
    assert work(plans) == ["a"]
    assert (plans.have, models.calls) == (7, ["+a", "+b", "+a"])


def test_a_result_that_nobody_acks_stops_the_work_and_is_not_lost():
    models = Models()
    plans = agent_of(models.install, models.remove)
    give(plans, plan(7, "a", "b"))
    assert plans.work(lambda: 50)
    assert not plans.work(lambda: 60)
    assert (plans.result[0], plans.have, models.calls) == ("a", 0, ["+a"])
    assert plans.result[3:5] == [0, 50]


def test_the_current_plan_is_in_have_before_its_last_result_is_acked():
    plans = agent_of(lambda definition: None)
    give(plans, plan(7, "a"))
    while plans.work(lambda: 50):
        pass
    assert (plans.have, plans.result[0]) == (7, "a")


def test_a_refused_plan_leaves_the_current_one():
    plans = agent_of(None)
    plans.have = plans.digest = 3
    for hostile in ([5, [[["name"]], 5]], [5, 5], [-1, []], [1 << 30, []], [None, []], [5, [["d", 0, [5]]]], ["5", []]):
        raises((ValueError, TypeError), give, plans, hostile)
        assert (plans.have, plans.work(lambda: 1)) == (3, False)


def failing_once(error):
    """A device whose first `install` raises the error, and its store."""
    models = Models()
    errors = [error]

    def install(definition):
        models.install(definition)
        if errors:
            raise errors.pop()

    store = Memory()
    return models, store, agent_of(install, models.remove, store=store)


def test_a_want_of_memory_or_flash_is_said_in_words():
    for error, text in ((OSError(28), "flash is full"), (MemoryError(), "memory is full"), (OSError(5, "x"), None)):
        _, _, plans = failing_once(error)
        give(plans, plan(7, "a"))
        assert plans.work(lambda: 50)
        assert plans.result[2] == "a: " + (text or str(error))


def test_what_wanted_memory_or_flash_is_tried_again_with_the_next_plan_and_after_a_restart():
    for error in (OSError(28), MemoryError(), ValueError("the card is full")):
        models, store, plans = failing_once(error)
        give(plans, plan(7, "a", "b"))
        assert work(plans) == ["a", "b"]
        assert (plans.have, plans.busy) == (7, True)  # a hello
        plans.receive("plan", packed(plan(7, "a", "b")))  # as at each reconnect
        assert not plans.work(lambda: 50)
        woken = Agent(["1.0.0", [], []], models.install, models.remove, store=store)
        woken.start(0, None, 1, True)
        assert woken.have == 7
        again = Agent(["1.0.0", [], []], models.install, models.remove, store=store)
        again.start(0, None, 1, False)
        assert again.have == 0  # so the service sends the plan, retained or not
        again.receive("plan", packed(plan(7, "a", "b")))
        assert work(again) == ["a"]
        assert (again.have, models.calls) == (7, ["+a", "+b", "+a"])
        again.start(0, None, 1, False)
        assert again.have == 7
        models, _, plans = failing_once(error)
        give(plans, plan(7, "a", "b"))
        assert work(plans) == ["a", "b"]
        give(plans, plan(8, "b", "a"))
        assert work(plans) == ["a"]


def test_another_failure_is_for_ever():
    models, store, plans = failing_once(ValueError("no"))
    give(plans, plan(7, "a"))
    assert work(plans) == ["a"]
    again = Agent(["1.0.0", [], []], models.install, models.remove, store=store)
    again.start(0, None, 1, False)
    assert again.have == 7
    give(again, plan(8, "a"))
    assert work(again) == []


def test_a_firmware_without_sha1_says_so_once():
    present = sys.modules.get("hashlib")
    sys.modules["hashlib"] = object()
    try:
        plans = agent_of(print, print, files="files-under-test-")
        data = b"\x92\x07\x91\x93\xa1d\x00\x91\x93\xa3kws\x01\xc4\x14" + bytes(20)
        for _ in range(3):
            plans.receive("plan", data)
            while plans.work(lambda: 50):
                pass
            if plans.result:
                assert plans.result[1] == "FAIL"
                assert "sha1" in plans.result[2]
                assert plans.bad == 0
                plans.result = None
                plans.seq += 1
        assert (plans.bad, plans.have, plans.seq) == (0, 7, 3)
    finally:
        if present:
            sys.modules["hashlib"] = present
        else:
            del sys.modules["hashlib"]


def test_a_name_that_is_none_stops_no_heartbeat():
    def install(definition):
        definition.name = True

    agent = agent_of(install)
    give(agent, [7, [["d", 0, [["m", 1]]]]])
    agent.work(lambda: 0)
    p = Packer(512, 0)
    agent.sent(agent.poll(0, p))
    assert agent.poll(0, p) == "hb"
    assert read(written(p))[5][:2] == ["d", "SUCCESS"]
