"""Which expert runs next, with whose tokens: pure decisions over queues, residency and KV memory."""
