"""Images and their PDBs, made with Debian's clang and lld."""

import shutil
import subprocess

import pytest

SOURCE = """
__declspec(noinline) static int hidden(int x) { return x * 3 + 1; }
__declspec(dllexport) int exported(int x) { return hidden(x) + hidden(x + 1); }
__declspec(noinline) int shown(int x) { return exported(x) ^ 5; }
int entry(void) { return shown(3); }
"""
MISSING = [command for command in ("clang", "lld-link") if shutil.which(command) is None]


def link(folder, name="a", machine="x86_64"):
    """Make a DLL and its PDB in *folder*, whose paths are returned; skip where that is not possible."""
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} is not installed")
    source, made = folder / f"{name}.c", folder / f"{name}.obj"
    source.write_text(SOURCE, "ascii")
    target = f"--target={machine}-windows-msvc"
    compiler = ["clang", target, "-g", "-gcodeview", "-nostdlib", "-O1", "-c", source, "-o", made]
    linker = [
        "lld-link",
        "/nologo",
        "/dll",
        "/debug",
        "/noentry",
        "/nodefaultlib",
        "/include:" + ("_entry" if machine == "i686" else "entry"),
        f"/pdb:{name}.pdb",
        f"/out:{name}.dll",
        made,
    ]
    for command in (compiler, linker):
        subprocess.run(command, check=True, cwd=folder, capture_output=True, timeout=60)
    return folder / f"{name}.dll", folder / f"{name}.pdb"
