"""The samplers, one object each: base.py defines what a sampler is, registry.py lists them."""
