"""Replicated documents: updates, replicas, conflicts and their resolution, and the synchronisation of replicas."""
