"""Meta-training on several replicas: devices of a process, or processes."""
