"""What runs compute: their pieces, and what comes of each.

A piece is JSON in and JSON out, so that any worker can do it: evidence searches ranges of null
worlds and then writes the report, a sweep tries ranges of rules and then ranks them all.
What loads SciPy and Matplotlib is imported where it is used: the web server only plans.
"""
