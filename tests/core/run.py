"""Run the core tests with no test framework: `python|micropython tests/core/run.py [MODULE...]`.

It prints a line for each test and a summary; it ends with status 1 if one failed or none was
found. Without names, every `test_*.py` beside this file runs; where there is no directory to list,
the caller gives the names: `import run; run.run(("test_x",))`.
"""

import gc
import sys


def _set_paths(folder: str) -> None:
    """Put the device's root and the tests on sys.path; on CPython the shim as well."""
    root = folder + "/../.."
    paths = [folder, root + "/firmware", root]
    if sys.implementation.name != "micropython":
        paths.append(root + "/host/shim")
    for path in paths:
        if path not in sys.path:
            sys.path.insert(0, path)


def run(names: "tuple[str, ...] | list[str]") -> int:
    """Run the named test modules; return the number of failures."""
    from harness import run_module

    passed = 0
    failed = 0
    for name in names:
        gc.collect()
        module_passed, module_failed = run_module(name)
        passed += module_passed
        failed += module_failed
    print("core:", passed, "passed,", failed, "failed")
    return failed if passed else 1


def _main() -> None:
    import os

    script = sys.argv[0]
    folder = script[: script.rindex("/")] if "/" in script else "."
    _set_paths(folder)
    names = sys.argv[1:]
    if not names:
        files = [name for name in os.listdir(folder) if name.startswith("test_")]
        names = sorted(name[:-3] for name in files if name.endswith(".py"))
    sys.exit(1 if run(names) else 0)


if __name__ == "__main__":
    _main()
