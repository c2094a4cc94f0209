"""What the training needs: its data, its model, the other ranks, and the digest of its own files."""
