"""What the cloud carries, next to a floor and a peer measured in the same run. Source: docs/benchmarks.md."""
