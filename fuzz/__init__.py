"""Coverage-guided fuzzing: `python -m nox -s fuzz -- TARGET SECONDS`. Not part of the package.

`targets` has what is called with bytes and must hold, `corpus` makes the inputs to start from, `__main__` runs a
target under atheris. `driver/` is the same for the driver, with libFuzzer. docs/contributing/fuzzing.md
"""
