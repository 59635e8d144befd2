# SPDX-License-Identifier: Apache-2.0
"""What can be wrong, one module for each topic.

Enters: the facts of one look. Leaves: findings. Pure: nothing here asks anybody anything.
"""
