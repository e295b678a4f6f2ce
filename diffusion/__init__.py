"""The mathematics and the samplers of DDPM Lab. Needs torch and diffusers; imports neither app nor training."""
