"""Control: host registers, fetch, decode, queues, semaphores, counters and traps."""
