"""What workloads do to the network, kept beyond their pods' lives in TrafficFootprint objects.

Reads, left to right: ``profile`` (samples of a workload, smoothed) → ``record`` (the object, read and written) and
``naming`` → ``book`` (all objects, by workload) → ``plan`` with ``changes`` and ``budget`` (what is worth a
write) → ``election`` (who writes) → ``learner`` (the thread) → ``kubernetes_store`` (the API). Everything up to
``plan`` and the decisions of ``election`` are pure.
"""
