"""What all visitors share: checkpoints, the queue, the network's thread, and what is kept of a session."""
