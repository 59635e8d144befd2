# SPDX-License-Identifier: Apache-2.0
"""Where traffic figures come from. ``base`` is the interface; every other module here is one source."""
