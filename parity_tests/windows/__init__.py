"""Performs the steps of scenarios with real processes and threads, on Windows and in Wine.

`performer` turns steps into orders, `actor` is the program that carries them out, `deeds` are the calls. The vm
bench and the wine bench share all of it. On Windows the kernel itself tells both detectors what was made; in
Wine, which tells nobody, whoever made it does (`told`). That is the only difference.
"""
