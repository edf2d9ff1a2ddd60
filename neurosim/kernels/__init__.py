"""Operations on tensors, a folder each; the same file names in every folder."""
