"""Other codecs on the same images, at the same targets: `formats` writes files, `peer` aims."""

from sadcodec.evaluate.codecs.peer import PEERS, Peer, PeerFile, peer

__all__ = ["PEERS", "Peer", "PeerFile", "peer"]
