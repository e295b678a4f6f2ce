"""Start DDPM Lab's page: `python app.py`. A Space starts it the same way."""

import sys

from app.server.malloc import one_arena
from app.server.options import Options, parse
from app.server.places import PlaceError, check_address, use_own_temp_folder

one_arena()
options = parse(sys.argv[1:]) if __name__ == "__main__" else Options()  # before the imports: --help needs no page
try:
    use_own_temp_folder()
    if __name__ == "__main__":
        check_address(options.host, options.port)
except PlaceError as error:
    sys.exit(f"app.py: {error}")

from app.page import build_demo, launch_arguments  # noqa: E402
from app.ui.lazy_import import import_all  # noqa: E402

demo = build_demo(options)

if __name__ == "__main__":
    demo.launch(prevent_thread_lock=True, **launch_arguments(options))
    import_all()
    demo.block_thread()
