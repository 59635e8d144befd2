"""Where traffic figures come from. ``base`` is the interface; every other module here is one source."""
