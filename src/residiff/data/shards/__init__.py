"""Sets that outgrow a folder: pictures in tar archives, each read where it lies, by an index of their places."""

from residiff.data.shards.reading import open_shards, shards_of
from residiff.data.shards.writing import SHARD_BYTES, write_shards

__all__ = ["SHARD_BYTES", "open_shards", "shards_of", "write_shards"]
