"""S3 on the manager's port: buckets, objects, uploads in parts. Decides nothing about devices."""

from gateway.manager.http.s3.api import S3Api
from gateway.manager.http.s3.targets import is_s3_post
