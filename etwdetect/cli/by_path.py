"""Imports a package from a given folder, whatever the current folder and sys.path have under its name.

The parity tests run elevated and are not part of the installed package. They must come from the checkout or the
unpacked .zip that this package is in: anybody may be able to write to the current folder, or set PYTHONPATH.

As a script, ``python -I .../by_path.py FOLDER MODULE [ARGUMENT...]`` runs MODULE of the package in FOLDER, with
the etwdetect that the script is part of.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path


def import_package(folder: Path) -> None:
    """Import the package in *folder*; later imports of its modules find them there. Raises ImportError.

    A package of that name that was imported from elsewhere is replaced.
    """
    name, file = folder.name, folder / "__init__.py"
    known = getattr(sys.modules.get(name), "__file__", None)  # a namespace package has none
    if known is not None and Path(known).resolve() == file.resolve():
        return
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None or not file.is_file():
        raise ImportError(f"{folder} is not a package", name=name)
    for module in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[module]
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


def main() -> None:
    """Run the module that the command line names."""
    import_package(Path(__file__).resolve().parents[1])
    folder, module = Path(sys.argv[1]), sys.argv[2]
    import_package(folder)
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
