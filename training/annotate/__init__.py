"""The fine-grained annotation pipeline (section 3.3): from videos with anomaly masks to dialogues, descriptions and frame-wise
annotations, by a vision-language model whose answers are linked over time, looked at again and checked against each other.

    python training/annotate/run.py --help

Imported as `tvau_training.annotate`. Trains nothing.
"""
