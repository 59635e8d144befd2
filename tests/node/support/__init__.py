# SPDX-License-Identifier: Apache-2.0
"""What the tests of this tier share: pods, the chart, bytes held against what interfaces counted."""
