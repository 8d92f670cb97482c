"""Answers of GetDeployments, as a table: what make.py turns into digests.json, with the sizes that a gateway may know."""
# ruff: noqa: E501
# A row is a line:
# fmt: off

SUM = "a9993e364706816aba3e25717850c26c9cd0d89d"


def model(handle, state="DEPLOY", url="s3://models/kws.tflite", checksum=SUM, kind="SHA1"):
    item = {"ModelHandle": handle, "State": state}
    if url:
        item["S3Url"] = url
    if checksum:
        item["Checksum"] = {"Type": kind, "Sum": checksum}
    return item


def deployment(name, *definitions, policy="ROLLBACK_ON_FAILURE", kind="Model"):
    return {"DeploymentName": name, "Type": kind, "FailureHandlingPolicy": policy, "Definitions": list(definitions)}


def answer(*deployments):
    return {"Deployments": list(deployments)}


# (name, answer, sizes by URL, what it shows)
PLANS = [
    ("empty", answer(), {}, "an empty list is a plan too"),
    ("one", answer(deployment("deploy-7", model("kws"))), {}, "checksum as 20 raw bytes; Type and checksum type left out"),
    ("sized", answer(deployment("deploy-7", model("kws"))), {"s3://models/kws.tflite": 25224}, "a size changes no digest"),
    ("undeploy", answer(deployment("deploy-9", model("kws", "UNDEPLOY", None, None), policy="DO_NOTHING")), {},
        "trailing nils are left out"),
    ("no-url", answer(deployment("deploy-7", model("kws", url=None))), {}, "no S3Url"),
    ("no-checksum", answer(deployment("deploy-7", model("kws", checksum=None))), {}, "nil in the checksum's place"),
    ("odd-checksum", answer(deployment("deploy-7", model("kws", checksum="abc-1", kind="MD5"))), {},
        "a sum that is not 40 hex digits stays a str; a type other than SHA1 is named"),
    ("order", answer(deployment("b", model("two"), model("one")), deployment("a", model("kws", "UNDEPLOY"))), {},
        "the service's order is kept"),
    ("order-swapped", answer(deployment("a", model("kws", "UNDEPLOY")), deployment("b", model("two"), model("one"))), {},
        "another order is another digest"),
    ("new-enums", answer(deployment("d", model("kws", "PAUSE"), policy="ASK", kind="Container")), {}, "unknown enums as str"),
    ("members-missing", answer({"DeploymentName": "d"}, {"Definitions": [{"ModelHandle": "kws"}]}, {}), {},
        "what the service leaves out is nil, or left out at the end"),
    ("long", answer(*(deployment(f"deploy-{n}", *(model(f"model-{n}-{m}", url=f"s3://models/{n}/{m}.tflite")
        for m in range(20))) for n in range(3))), {"s3://models/0/0.tflite": 70000}, "array16 inside"),
]  # fmt: skip
