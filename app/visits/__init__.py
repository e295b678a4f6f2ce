"""What goes from tab to tab and from visit to visit: the address, runs sent from one tab to another, the checkpoint."""
