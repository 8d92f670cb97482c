"""Model files for devices that cannot fetch them: from S3 into a cache, out in blocks. Reads no message."""
