"""The database: the truth of the cloud. SQLAlchemy Core, sync, one statement set for every database."""
