"""The page: shows what diffusion/ computes. Knows diffusion/ and gradio, never training/."""

import os

# Both are read when their library is imported. The first: a page that phones nobody unless its owner says so. The
# second: two threads that wait for each other spin, and where something else wants the cores a step then takes four
# times as long (measured: 0.4 s instead of 0.1 s beside a training).
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
