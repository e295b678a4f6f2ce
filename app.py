"""DDPM Lab's page: `python app.py`. A Space starts it the same way."""

import sys

from app.options import Options, parse

options = parse(sys.argv[1:]) if __name__ == "__main__" else Options()  # the flags first: --help needs no torch

from app.demo import build_demo, launch_arguments  # noqa: E402

demo = build_demo(options)

if __name__ == "__main__":
    demo.launch(**launch_arguments(options))
