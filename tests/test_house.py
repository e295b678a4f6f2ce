"""Import rules between the packages, read from the source so that no import needs to run."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("diffusion", "training", "app")
MOST_LINES = 300  # of a file: a longer one usually holds two rooms
MAY_NOT = {
    "diffusion": {"training", "app", "gradio", "accelerate"},
    "app": {"training", "accelerate"},
    "training": {"app", "gradio"},
}


def modules() -> dict[str, Path]:
    """Every module of the rooms by its dotted name."""
    found = {}
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The dotted names that a module imports, now or `lazy_import`; of ours the modules, of others the packages."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= inner or {base}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy_import":
            found.add(node.args[0].value)  # an import at its first use
    return found


def test_the_rooms_are_there():
    assert {name.split(".")[0] for name in MODULES} == set(ROOMS)
    assert "diffusion.pipeline" in imports("app.server.checkpoints")
    assert "app.generate.render" in imports("app.generate.tab")


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    for name in MODULES:
        if name.split(".")[0] == room:
            forbidden = {other for other in imports(name) if other.split(".")[0] in MAY_NOT[room]}
            assert not forbidden, f"{name} imports {forbidden}"


# In app, from below to above: a room imports those below it, and of its own floor none but itself
FLOORS = (
    {"texts"}, {"ui"}, {"server"}, {"controls"}, {"generate", "compare", "explore", "maths"}, {"api"}, {"visits"},
    {"page", "__init__"},
)  # fmt: skip


def floor_of(name: str) -> tuple[int, str]:
    """The floor and the room of a module of app."""
    room = [*name.split("."), "__init__"][1]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms), room


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "app"])
def test_the_rooms_of_the_page_import_downwards(name):
    floor, room = floor_of(name)
    for other in imports(name) & {one for one in MODULES if one.split(".")[0] == "app"}:
        below, beside = floor_of(other)
        assert below < floor or beside == room, f"{name} imports {other}"


@pytest.mark.parametrize("name", MODULES)
def test_a_file_holds_one_room(name):
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{name} has {lines} lines"


def test_there_is_no_circle():
    graph = {name: imports(name) & set(MODULES) - {name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_page_starts_from_its_own_package():
    source = (REPOSITORY / "app.py").read_text(encoding="utf-8")
    named = {node.module.split(".")[0] for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert named == {"app"}


def commands() -> list[str]:
    """Every file that is run as a command."""
    places = [REPOSITORY / "app.py", *(p for room in (*ROOMS, "benchmarks") for p in (REPOSITORY / room).rglob("*.py"))]
    return [str(p.relative_to(REPOSITORY)) for p in places if "__main__" in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", sorted(set(commands()) - {"app/texts/traditional.py"}))  # it prints nothing
def test_a_command_prints_to_any_encoding(path):
    path = "app/server/options.py" if path == "app.py" else path
    assert "accept_any_encoding()" in (REPOSITORY / path).read_text(encoding="utf-8")
