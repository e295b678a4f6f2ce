"""The controls of one run: what each shows, how they are laid out, and what their values mean."""
