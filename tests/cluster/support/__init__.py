# SPDX-License-Identifier: Apache-2.0
"""What the tests on a cluster share: identities and their attempts, releases of the chart, replicas, workloads."""
