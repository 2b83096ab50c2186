"""Alembic's revisions, one file each, applied at start."""
