"""The kinds of configuration documents: what is valid, and how it is stored.

Each module parses one kind: ``parse(id, document) -> document`` gives the stored form or raises an
error that names the field by JSON pointer.
"""
