"""Which deployments are in force: the rule on examples, and on histories that hypothesis makes."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.api import DeviceDeployment, ModelDefinition, in_force, is_deployed

HANDLES = st.sampled_from(["a", "b", "c"])
DEFINITIONS = st.builds(ModelDefinition, HANDLES, st.sampled_from(["DEPLOY", "UNDEPLOY"]))
HISTORIES = st.lists(st.lists(DEFINITIONS, min_size=1, max_size=3, unique_by=lambda each: each.handle), max_size=6).map(
    lambda all_: [deployment(str(number), *definitions) for number, definitions in enumerate(all_)]
)


def deployment(name: str, *definitions: ModelDefinition) -> DeviceDeployment:
    return DeviceDeployment(name, "DO_NOTHING", tuple(definitions), 0.0)


def test_a_newer_deployment_supersedes_the_handle_and_nothing_else():
    one = deployment("one", ModelDefinition("a"), ModelDefinition("b"))
    two = deployment("two", ModelDefinition("a", url="s3://m/a"))
    assert in_force([one, two]) == [deployment("one", ModelDefinition("b")), two]


def test_a_deployment_without_a_definition_left_is_not_in_force():
    assert in_force([deployment("one", ModelDefinition("a")), deployment("two", ModelDefinition("a"))]) == [
        deployment("two", ModelDefinition("a"))
    ]


def test_an_undeployment_stays_until_the_handle_is_deployed_again():
    gone = deployment("two", ModelDefinition("a", "UNDEPLOY"))
    assert in_force([deployment("one", ModelDefinition("a")), gone]) == [gone]
    assert in_force([gone, deployment("three", ModelDefinition("a"))]) == [deployment("three", ModelDefinition("a"))]


def test_deployed_is_what_is_in_force_with_the_state_deploy():
    history = [
        deployment("one", ModelDefinition("a"), ModelDefinition("b")),
        deployment("two", ModelDefinition("a", "UNDEPLOY")),
    ]
    assert is_deployed(history, "b")
    assert not is_deployed(history, "a")
    assert not is_deployed(history, "c")


def test_to_api_leaves_out_what_an_undeployment_does_not_have():
    assert deployment("x", ModelDefinition("a", "UNDEPLOY")).to_api() == {
        "DeploymentName": "x",
        "Type": "Model",
        "FailureHandlingPolicy": "DO_NOTHING",
        "Definitions": [{"ModelHandle": "a", "State": "UNDEPLOY"}],
    }


@given(HISTORIES)
def test_each_handle_ever_named_is_in_force_once_with_its_newest_definition(history):
    newest = {each.handle: (one.name, each) for one in history for each in one.definitions}
    result = [(one.name, each) for one in in_force(history) for each in one.definitions]
    assert sorted(result, key=repr) == sorted(newest.values(), key=repr)


@given(HISTORIES)
def test_order_is_kept_and_dropping_what_is_superseded_changes_nothing(history):
    names = [one.name for one in in_force(history)]
    assert names == sorted(names, key=int)
    for cut in range(len(history)):
        assert in_force([*in_force(history[:cut]), *history[cut:]]) == in_force(history)
