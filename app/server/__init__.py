"""State and resources that all visitors share: checkpoints, the queue, the network's thread, and sessions."""
