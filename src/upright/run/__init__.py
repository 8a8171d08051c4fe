"""The spine of every verb: configuration, run folder, evidence, report, progress.

Nothing is re-exported here: `upright.run.config` must stay free of everything that is slow to import.
"""
