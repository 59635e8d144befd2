"""The scheduler extender: watches, snapshot, demand, filtering, scoring, app."""
