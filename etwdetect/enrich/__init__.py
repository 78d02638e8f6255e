"""Adds context to remote threads: processes, modules, functions, kinds. It never adds or removes one."""
