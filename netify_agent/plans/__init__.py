"""Plans: what was used of a volume in the current day, week or month, and which thresholds are passed.

:mod:`~netify_agent.plans.meter` counts, :mod:`~netify_agent.plans.thresholds` remembers what is passed, and
:mod:`~netify_agent.plans.standing` is what others read.
"""
