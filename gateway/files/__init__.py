"""Model files for devices that cannot fetch them: from S3 into a cache, out in blocks. Reads no message."""

from gateway.files.block_sender import BlockSender
from gateway.files.downloads import ReadQueue
from gateway.files.fetcher import ModelFileStore, make_s3_client, s3_call
