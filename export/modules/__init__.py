"""The modules of sentence-transformers that follow a transformer, as PyTorch modules that are traced with it.

They read and write a table of features by name, as sentence-transformers' do.
"""
