"""The bodies of error responses."""

from gateway.manager.errors import S3Error


def test_an_s3_error_is_xml_whatever_was_requested():
    assert "<Key>&lt;&amp;&gt;</Key>" in S3Error("NoSuchKey", "none", 404, {"Key": "<&>"}).body("id")
