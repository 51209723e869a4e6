"""Many recorded videos scored in parallel: cut into segments, scored on Ray, put together again as tables.

What it writes is one folder, in which a run goes on where an earlier one stopped:

    run.json          the settings that scores depend on, and the figures of the last run
    scores.parquet    one row per heat map        events.parquet    one row per event        index.html    to read
    progress/         plans of videos and heat maps of segments, each file written whole or not at all
"""
