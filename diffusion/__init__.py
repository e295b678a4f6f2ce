"""The mathematics and the samplers of DDPM Lab. Needs torch and diffusers; knows no app and no training."""
