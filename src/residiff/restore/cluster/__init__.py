"""Folders, lists and object stores restored by many processes, on this machine or on a cluster of Ray's."""

from residiff.restore.cluster.driving import Cluster, connected, restore_on_ray
from residiff.restore.cluster.loading import Loading
from residiff.restore.cluster.mirror import mirrored
from residiff.restore.cluster.places import is_uri
from residiff.restore.cluster.prefixes import plan_remote

__all__ = ["Cluster", "Loading", "connected", "is_uri", "mirrored", "plan_remote", "restore_on_ray"]
