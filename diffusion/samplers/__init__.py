"""The samplers, each one object: see base.py for what it is, registry.py for which there are."""
