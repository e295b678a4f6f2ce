"""The Generate tab: one run, watched step by step, with its recipe."""
