"""What cloud, terminals and auditors share: values, signing, tariffs and rating, evidence."""

__version__ = "0.1.0"
