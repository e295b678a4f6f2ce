"""The web page: shows what diffusion/ computes. Depends on diffusion/ and gradio, never on training/."""

import os

# Both are read when their library is imported. The first turns Gradio's analytics off unless the owner turns them on.
# The second stops OpenMP threads from spinning while they wait for each other: when another process wants the cores,
# spinning makes a step four times as long (measured: 0.4 s instead of 0.1 s beside a training).
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
