"""Which deployments are in force: the rule on examples, and on whatever histories hypothesis finds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.api.deployments import Definition, Deployment, deployed, in_force

HANDLES = st.sampled_from(["a", "b", "c"])
DEFINITIONS = st.builds(Definition, HANDLES, st.sampled_from(["DEPLOY", "UNDEPLOY"]))
HISTORIES = st.lists(st.lists(DEFINITIONS, min_size=1, max_size=3, unique_by=lambda each: each.handle), max_size=6).map(
    lambda all_: [plan(str(number), *definitions) for number, definitions in enumerate(all_)]
)


def plan(name: str, *definitions: Definition) -> Deployment:
    return Deployment(name, "DO_NOTHING", tuple(definitions), 0.0)


def test_a_newer_deployment_supersedes_the_handle_and_nothing_else():
    one = plan("one", Definition("a"), Definition("b"))
    two = plan("two", Definition("a", url="s3://m/a"))
    assert in_force([one, two]) == [plan("one", Definition("b")), two]


def test_a_deployment_without_a_definition_left_is_not_in_force():
    assert in_force([plan("one", Definition("a")), plan("two", Definition("a"))]) == [plan("two", Definition("a"))]


def test_an_undeployment_stays_until_the_handle_is_deployed_again():
    gone = plan("two", Definition("a", "UNDEPLOY"))
    assert in_force([plan("one", Definition("a")), gone]) == [gone]
    assert in_force([gone, plan("three", Definition("a"))]) == [plan("three", Definition("a"))]


def test_deployed_is_what_is_in_force_with_that_state():
    history = [plan("one", Definition("a"), Definition("b")), plan("two", Definition("a", "UNDEPLOY"))]
    assert deployed(history, "b")
    assert not deployed(history, "a")
    assert not deployed(history, "c")


def test_to_api_leaves_out_what_an_undeployment_does_not_have():
    assert plan("x", Definition("a", "UNDEPLOY")).to_api() == {
        "DeploymentName": "x",
        "Type": "Model",
        "FailureHandlingPolicy": "DO_NOTHING",
        "Definitions": [{"ModelHandle": "a", "State": "UNDEPLOY"}],
    }


@given(HISTORIES)
def test_each_handle_ever_named_is_in_force_once_with_its_newest_definition(history):
    newest = {each.handle: (one.name, each) for one in history for each in one.definitions}
    found = [(one.name, each) for one in in_force(history) for each in one.definitions]
    assert sorted(found, key=repr) == sorted(newest.values(), key=repr)


@given(HISTORIES)
def test_order_is_kept_and_forgetting_what_is_superseded_changes_nothing(history):
    names = [one.name for one in in_force(history)]
    assert names == sorted(names, key=int)
    for cut in range(len(history)):
        assert in_force([*in_force(history[:cut]), *history[cut:]]) == in_force(history)
