"""The house: imports point down, from floor to floor, and never in a circle."""

import ast
import graphlib
from pathlib import Path

import tensorflow as tf

_PACKAGE = Path(__file__).parent.parent / "regan_tf"

# Rooms, and modules beside them, from the ground up. Each imports from its own room and from the
# floors below.
_FLOORS = (
    {"defaults", "graphs", "settings"},
    {"spec"},
    {"combinations"},
    {"config"},
    {"files", "networks"},
    {"cli", "plots", "replicas", "tasks"},
    {"estimators", "serving"},
    {"client", "serve", "training"},
    {"export", "main", "sample", "studies"},
    {
        "benchmark",
        "benchmark_rewards",
        "benchmark_serving",
        "compare",
        "report",
        "sweep",
        "temperature_curve",
    },
    {"__main__"},
)


def _modules():
    """Dotted names below regan_tf, without its own __init__, to their files."""
    files = (path.relative_to(_PACKAGE) for path in _PACKAGE.rglob("*.py"))
    names = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): _PACKAGE / path
        for path in files
    }
    return {name: path for name, path in names.items() if name != "__init__"}


def _imported(path, modules):
    """What a module imports of the package, at its top or within a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("regan_tf"):
            parent = node.module.removeprefix("regan_tf").removeprefix(".")
            found = {
                f"{parent}.{alias.name}".removeprefix(".") for alias in node.names
            } & modules.keys()
            names |= found or {parent}
    return names


class RoomsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.modules = _modules()
        self.imports = {name: _imported(path, self.modules) for name, path in self.modules.items()}

    def test_every_module_has_a_floor(self):
        self.assertEqual({name.split(".")[0] for name in self.modules}, set.union(*_FLOORS))

    def test_imports_point_down(self):
        floor_of = {room: i for i, rooms in enumerate(_FLOORS) for room in rooms}
        for name, imported in self.imports.items():
            room = name.split(".")[0]
            for other in (found.split(".")[0] for found in imported):
                if other != room:
                    self.assertLess(floor_of[other], floor_of[room], f"{name} imports {other}")

    def test_no_circle(self):
        self.assertNotEmpty(list(graphlib.TopologicalSorter(self.imports).static_order()))

    def test_what_only_reads_weights_does_not_build_what_trains_them(self):
        for name in ("sample", "export", "temperature_curve", "benchmark_serving"):
            reached = self._reached(name)
            self.assertIn("training.models", reached)
            self.assertNoCommonElements({"training.trainer", "training.experiment"}, reached)

    def test_a_server_loads_nothing_that_builds_networks(self):
        """Theirs is TensorFlow Probability, among others: memory that it has no use for."""
        rooms = {name.split(".")[0] for name in self._reached("serve")}
        self.assertNoCommonElements({"networks", "estimators", "training"}, rooms - {"serve"})

    def _reached(self, name):
        """All modules that a module imports, or that these do."""
        reached, ahead = set(), {name}
        while ahead:
            reached |= ahead
            ahead = set().union(*(self.imports[n] for n in ahead)) & self.modules.keys() - reached
        return reached

    def test_imports_are_seen(self):
        self.assertContainsSubset(
            {"config", "tasks.registry", "training.workdir"}, self.imports["training.run"]
        )


if __name__ == "__main__":
    tf.test.main()
