"""Learners that adapt without an optimizer: they compare with the support set."""

from keras_meta.learners.matching_network import MatchingNetwork

__all__ = ["MatchingNetwork"]
