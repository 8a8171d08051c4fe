"""Statistics that several capabilities share: intervals, curves of attacks, exposure, personal data."""
