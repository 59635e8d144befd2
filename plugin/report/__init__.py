# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint report``: one HTML file of the state, for a ticket or a colleague.

Enters: one look of the doctor. Leaves: a page that needs nothing else, with names or with aliases. ``rows`` and
``page`` are pure.
"""
