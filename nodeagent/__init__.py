"""The DaemonSet: preflight, flow sources, pods, aggregation, publishing."""
