"""From text to batches: sources, corpus, ids on disk, dataset. Only ``batches`` needs torch."""
