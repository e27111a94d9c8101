"""Records: the TFRecord shard, the folder of shards, its building and its consistency."""
