"""Tests of the lake, on a real Spark with Iceberg."""
