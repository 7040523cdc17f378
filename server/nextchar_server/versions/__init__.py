"""The versions of models: from their files to the catalog, while the server runs."""
