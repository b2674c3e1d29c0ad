"""The part that runs on an executor: a shard, a replica of the model, and answers to the driver."""
