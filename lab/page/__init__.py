# SPDX-License-Identifier: Apache-2.0
"""What makes and looks at the live page: its library from npm, and a headless browser.

``extender/page/web`` is served as it stands, without a build. Only ``extender/page/web/vendor`` comes from
elsewhere: ``package-lock.json`` pins it by digest, and ``python -m lab.page vendor`` writes it again, byte for
byte.
"""
